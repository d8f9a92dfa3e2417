-- Spaces.activate_if_whole: a live asset that search would lose by the switch from $1 to $2 (ids); failures for good do not hold it up.
-- Primary key of image_embeddings and asset_operations.
select exists (
  select from image_embeddings old join assets a on a.id = old.asset_id and a.deleted_at is null
   where old.model_id = $1::smallint
     and not exists (select from image_embeddings new where new.asset_id = old.asset_id and new.model_id = $2::smallint)
     and not exists (select from asset_operations o where o.asset_id = old.asset_id and o.operation = 'embedding' and o.outcome = 'failed'
                                                      and o.model in ($3, $4)))
