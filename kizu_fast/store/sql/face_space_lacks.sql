-- Spaces.activate_if_whole: a live photo whose faces are in the space named $1 and were not looked for with $2; failures for good ($3) do not hold it up.
-- Primary key of asset_operations.
select exists (
  select from asset_operations old join assets a on a.id = old.asset_id and a.deleted_at is null
   where old.operation = 'faces' and old.model = $1 and old.outcome = 'done'
     and not exists (select from asset_operations new where new.asset_id = old.asset_id and new.operation = 'faces' and new.model in ($2, $3)))
