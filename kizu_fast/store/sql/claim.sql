-- Queue.claim, in every worker's loop. Index processing_queue_claim inside claim_processing_jobs; assets by primary key, paths by asset_paths_asset.
select id, asset_id, user_id, operations, attempts, max_attempts, lease_token, path, byte_size, mtime_ns, content_sha256, width, height
  from claim_jobs_with_assets($1, $2, $3::interval, $4::text[], $5::text[])
