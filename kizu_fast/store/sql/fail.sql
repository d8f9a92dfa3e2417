-- Queue.fail, a transaction apart from completing. Primary key and processing_queue_asset.
select id, status from fail_processing_jobs($1::uuid[], $2::bigint[], $3::text[], $4)
