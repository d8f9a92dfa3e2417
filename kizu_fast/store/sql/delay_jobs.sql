-- Assets.register: files that are still being copied are due later. Index processing_queue_one_pending.
update processing_queue set not_before = clock_timestamp() + $2::interval where asset_id = any($1::uuid[]) and status = 'pending'
