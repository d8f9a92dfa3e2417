-- Search.by_vector: the exact form. + 0 keeps the planner off any HNSW index, whose answers a user filter cuts short. Index image_embeddings_user.
select e.asset_id, 1 - (e.embedding <=> $1) as score
  from image_embeddings e join assets a on a.id = e.asset_id and a.deleted_at is null
 where e.user_id = $2 and e.model_id = (select m.id from embedding_models m where m.name = $3)
 order by (e.embedding <=> $1) + 0, e.asset_id
 limit $4
