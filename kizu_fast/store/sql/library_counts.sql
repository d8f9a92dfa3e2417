-- Assets.counts, for `status`. Indexes that start with user_id; live assets only.
with live as (select id from assets where user_id = $1 and deleted_at is null)
select (select count(*) from live) as assets,
       (select count(*) from image_embeddings e join live on live.id = e.asset_id join embedding_models m on m.id = e.model_id
         where e.user_id = $1 and m.is_active) as embeddings,
       (select count(*) from face_embeddings f join live on live.id = f.asset_id where f.user_id = $1) as faces,
       (select count(*) from detected_objects o join live on live.id = o.asset_id where o.user_id = $1) as objects,
       (select coalesce(sum(jsonb_array_length(t.lines)), 0) from ocr_texts t join live on live.id = t.asset_id where t.user_id = $1) as texts,
       (select count(*) from captions c join live on live.id = c.asset_id where c.user_id = $1) as captions
