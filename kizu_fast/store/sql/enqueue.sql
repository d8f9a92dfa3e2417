-- Queue.enqueue, Queue.queue_missing, Assets.register, Results.settle. $3 {asset id: [operation]} as JSON text. Index processing_queue_one_pending.
select asset_id from enqueue_processing_jobs($1::uuid, $2::uuid[], $3::text::jsonb, $4) as queued(asset_id)
