-- Coverage.queue_outdated: the photos that outdated.sql counts for one operation ($2) and model ($3), in chunks. The same indexes.
select a.id from assets a
 where ($1::uuid is null or a.user_id = $1) and a.deleted_at is null
   and exists (select from asset_operations o where o.asset_id = a.id and o.operation = $2 and o.model <> $3 and o.outcome = 'done')
   and not exists (select from asset_operations o
                    where o.asset_id = a.id and o.operation = $2 and (o.model = $3 or (o.model = $4 and o.outcome = 'failed')))
   and not exists (select from processing_queue q where q.asset_id = a.id and q.status in ('pending', 'processing') and $2 = any(q.operations))
 order by a.id
 limit $5
