-- Queue.purge, in a worker's idle loop. Index processing_queue_done.
select purge_processing_jobs()
