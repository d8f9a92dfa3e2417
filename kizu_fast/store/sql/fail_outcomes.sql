-- Queue.fail, for files that can never be decoded: the outcome of each operation asked for, unless one is known. Primary keys.
insert into asset_operations (asset_id, operation, model, user_id, outcome, error)
select q.asset_id, o.operation, $2, q.user_id, 'failed', q.error
  from processing_queue q cross join lateral unnest(q.operations) o(operation)
 where q.id = any($1::uuid[]) and q.status = 'failed'
   and not exists (select from asset_operations known where known.asset_id = q.asset_id and known.operation = o.operation)
on conflict do nothing
