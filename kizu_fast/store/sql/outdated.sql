-- Coverage.outdated, for status, doctor and a worker's start: photos whose results of an operation ($2) come from other models than are wanted now ($3).
-- Photos that wait for it already do not count, nor those that fail with it for good ($4). Index asset_operations_user, primary key, processing_queue_asset.
select o.operation, array_agg(distinct o.model order by o.model) as models, count(distinct o.asset_id) as photos
  from asset_operations o
  join unnest($2::text[], $3::text[]) as wanted(operation, model) on wanted.operation = o.operation and wanted.model <> o.model
  join assets a on a.id = o.asset_id and a.deleted_at is null
 where ($1::uuid is null or o.user_id = $1) and o.outcome = 'done'
   and not exists (select from asset_operations n
                    where n.asset_id = o.asset_id and n.operation = o.operation and (n.model = wanted.model or (n.model = $4 and n.outcome = 'failed')))
   and not exists (select from processing_queue q
                    where q.asset_id = o.asset_id and q.status in ('pending', 'processing') and o.operation = any(q.operations))
 group by o.operation
 order by o.operation
