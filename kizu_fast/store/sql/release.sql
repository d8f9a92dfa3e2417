-- Queue.release, at shutdown and in an outage. Primary key and processing_queue_asset.
select id from release_processing_jobs($1::uuid[], $2::bigint[]) as released(id)
