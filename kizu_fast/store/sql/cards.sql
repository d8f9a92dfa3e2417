-- Search.cards: what result rows show. Primary key of assets, asset_paths_asset, detected_objects_asset, primary key of ocr_texts.
select a.id, p.path, a.taken_at_local, a.utc_offset_minutes,
       array(select o.label from detected_objects o where o.asset_id = a.id and o.user_id = $1 group by o.label order by max(o.confidence) desc, o.label) as objects,
       (select t.full_text from ocr_texts t where t.asset_id = a.id and t.user_id = $1 order by t.created_at desc limit 1) as text
  from assets a left join lateral asset_primary_path(a.id) p on true
 where a.user_id = $1 and a.id = any($2::uuid[]) and a.deleted_at is null
