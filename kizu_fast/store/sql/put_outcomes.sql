-- Results.settle: one row per asset, operation and model; a success takes away the failures of that operation. Primary key.
with f as (
  select * from unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::int[], $7::text[])
                as f(asset_id, operation, model, user_id, outcome, items, error)),
old as (
  delete from asset_operations o using f
   where o.asset_id = f.asset_id and o.operation = f.operation and o.model <> f.model and o.outcome = 'failed' and f.outcome = 'done')
insert into asset_operations as o (asset_id, operation, model, user_id, outcome, items, error)
select asset_id, operation, model, user_id, outcome, items, error from f
on conflict (asset_id, operation, model) do update
  set outcome = excluded.outcome, items = excluded.items, error = excluded.error, done_at = now()
