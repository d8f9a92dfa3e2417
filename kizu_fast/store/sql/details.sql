-- Assets.details, for `show`: the asset, its newest job, its caption and the embedding to show (that of the active space first).
-- Primary keys, processing_queue_asset.
select a.id, p.path, a.width, a.height, a.exif_orientation, a.taken_at_local, a.utc_offset_minutes, a.latitude, a.longitude,
       nullif(concat_ws(', ', a.place_city, a.place_region, a.place_country), '') as place,
       q.status, q.attempts, q.error, e.name as model, e.dim, e.vector,
       (select c.caption from captions c where c.asset_id = a.id and c.user_id = $1 order by c.created_at desc limit 1) as caption
  from assets a
  left join lateral asset_primary_path(a.id) p on true
  left join lateral (select j.status, j.attempts, j.error from processing_queue j where j.asset_id = a.id order by j.created_at desc, j.id desc limit 1) q on true
  left join lateral (
    select m.name, m.dim, case when $3 then v.embedding::real[] end as vector
      from image_embeddings v join embedding_models m on m.id = v.model_id
     where v.asset_id = a.id order by m.is_active desc, v.created_at desc limit 1) e on true
 where a.user_id = $1 and a.id = $2 and a.deleted_at is null
