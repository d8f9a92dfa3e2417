-- Search.cards: what result rows show. Primary key of assets, asset_paths_asset, detected_objects_asset, unique index (asset_id, face_index).
select a.id, p.path, a.taken_at_local, a.utc_offset_minutes,
       array(select o.label from detected_objects o where o.asset_id = a.id and o.user_id = $1 group by o.label order by max(o.confidence) desc, o.label) as objects,
       f.clusters, f.names
  from assets a
  left join lateral (
    select p.path from asset_paths p where p.asset_id = a.id and p.user_id = $1
     order by p.path is not distinct from convert_to(a.storage_path, 'UTF8') desc, p.seen_at desc, p.path limit 1) p on true
  left join lateral (
    select array_agg(f.cluster_id order by f.det_score desc, f.face_index) as clusters, array_agg(c.name order by f.det_score desc, f.face_index) as names
      from face_embeddings f left join face_clusters c on c.user_id = f.user_id and c.id = f.cluster_id
     where f.asset_id = a.id and f.user_id = $1) f on true
 where a.user_id = $1 and a.id = any($2::uuid[]) and a.deleted_at is null
