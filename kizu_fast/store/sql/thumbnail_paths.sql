-- Thumbnails: the files that faces of these photos have. Unique index (asset_id, face_index).
select user_id, asset_id, thumbnail_path from face_embeddings where asset_id = any($1::uuid[]) and thumbnail_path is not null
