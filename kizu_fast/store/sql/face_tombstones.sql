-- Results.settle: boxes of these photos that are no face, or must be forgotten. Index face_tombstones_asset.
select asset_id, bbox from face_tombstones where asset_id = any($1::uuid[])
