-- Overview.backlog, by a worker that shows metrics, every few seconds. Indexes processing_queue_claim and processing_queue_running.
select count(*) filter (where status = 'pending') as pending,
       count(*) filter (where status = 'processing') as processing,
       coalesce(extract(epoch from now() - min(greatest(created_at, not_before)) filter (where status = 'pending' and not_before <= now())), 0)::float8 as oldest_s
  from processing_queue
 where status in ('pending', 'processing')
