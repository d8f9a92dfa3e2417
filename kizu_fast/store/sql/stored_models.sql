-- Coverage.stored_models: which models the results of each operation come from; 'packs' stands for the detectors of faces.
-- Index asset_operations_user; face_embeddings by its unique index (user_id, id).
select operation, array_agg(distinct model order by model) as models
  from (select operation, model from asset_operations where ($1::uuid is null or user_id = $1) and outcome = 'done'
        union select 'packs', detector from face_embeddings where ($1::uuid is null or user_id = $1) and detector <> 'manual') found
 group by operation
