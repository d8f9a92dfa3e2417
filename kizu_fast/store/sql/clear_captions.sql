-- Results.settle, before the COPY that replaces them: the unit is the asset, whatever model wrote them. Primary keys of captions and asset_operations.
with outcomes as (delete from asset_operations where asset_id = any($1::uuid[]) and operation = 'describe')
delete from captions where asset_id = any($1)
