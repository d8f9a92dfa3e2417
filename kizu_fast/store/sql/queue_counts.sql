-- Queue.counts and Assets.counts, for `status`. Index processing_queue_user.
select status, count(*) as jobs from processing_queue where user_id = $1 group by status
