-- Assets.forget: every row of these assets goes by cascade; the counts are of the rows as they were. Primary keys and the indexes on asset_id.
with gone as (delete from assets where user_id = $1 and id = any($2::uuid[]) returning id)
select (select count(*) from gone) as assets,
       (select count(*) from asset_paths where user_id = $1 and asset_id = any($2)) as paths,
       (select count(*) from processing_queue where user_id = $1 and asset_id = any($2)) as jobs,
       (select count(*) from image_embeddings where user_id = $1 and asset_id = any($2)) as embeddings,
       (select count(*) from detected_objects where user_id = $1 and asset_id = any($2)) as objects,
       (select count(*) from face_embeddings where user_id = $1 and asset_id = any($2)) as faces,
       (select count(*) from ocr_texts where user_id = $1 and asset_id = any($2)) as texts,
       (select count(*) from captions where user_id = $1 and asset_id = any($2)) as captions
