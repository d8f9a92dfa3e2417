-- Queue.unfinished, by a draining worker whose claim came back empty. Indexes processing_queue_claim and processing_queue_running.
select count(*) from processing_queue
 where status in ('pending', 'processing') and ($1::text[] is null or operations <@ $1)
