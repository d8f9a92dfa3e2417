-- Assets.details: faces of one photo, best first, with the vector of the active face space on request. Unique index (asset_id, face_index).
select f.bbox, f.landmarks, f.det_score, f.cluster_id, v.vector
  from face_embeddings f
  left join lateral (select case when $3 then e.embedding::real[] end as vector from face_vectors e join embedding_models m on m.id = e.model_id
                      where e.face_id = f.id and m.kind = 'face' and m.is_active) v on true
 where f.user_id = $1 and f.asset_id = $2
 order by f.det_score desc, f.face_index
