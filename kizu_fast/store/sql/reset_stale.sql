-- Queue.reset_stale, by any worker every few seconds. Index processing_queue_running.
select reset_stale_processing_jobs()
