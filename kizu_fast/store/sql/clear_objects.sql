-- Results.settle, before the COPY that replaces them: the unit is the asset, whatever model found them. Index detected_objects_asset.
with outcomes as (delete from asset_operations where asset_id = any($1::uuid[]) and operation = 'objects')
delete from detected_objects where asset_id = any($1)
