-- Results.settle, before the COPY that replaces them: the unit is (asset, model). Primary key.
delete from image_embeddings e using unnest($1::uuid[], $2::smallint[]) as f(asset_id, model_id) where e.asset_id = f.asset_id and e.model_id = f.model_id
