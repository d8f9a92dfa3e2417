-- queue suite: photos whose last job ended, to be queued again.
select asset_id from processing_queue where status = 'completed'
