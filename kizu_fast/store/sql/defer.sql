-- Queue.defer, for files that are still being copied. Primary key and processing_queue_asset.
select id from defer_processing_jobs($1::uuid[], $2::bigint[], $3::interval, $4::text[]) as deferred(id)
