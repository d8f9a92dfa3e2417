-- Assets.register and Results.settle: the bytes of these assets changed, so what was found on them is void. Faces stay: decisions hang on them.
-- Primary keys and detected_objects_asset.
with embeddings as (delete from image_embeddings where user_id = $1 and asset_id = any($2::uuid[])),
     objects as (delete from detected_objects where user_id = $1 and asset_id = any($2)),
     texts as (delete from ocr_texts where user_id = $1 and asset_id = any($2)),
     captioned as (delete from captions where user_id = $1 and asset_id = any($2))
delete from asset_operations where user_id = $1 and asset_id = any($2)
