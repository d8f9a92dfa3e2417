-- Queue.heartbeat, every third of a lease. Primary key; lease_expires_at has no index, so the update stays HOT.
select id from heartbeat_processing_jobs($1::uuid[], $2::bigint[], $3::interval) as owned(id)
