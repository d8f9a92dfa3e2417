-- Results.settle: the faces that these photos have, and whether a person has said something about them. Unique index (asset_id, face_index).
select f.id, f.asset_id, f.face_index, f.bbox, f.thumbnail_path,
       f.detector = 'manual' or exists (select from face_decisions d where d.face_id = f.id) as kept
  from face_embeddings f where f.asset_id = any($1::uuid[]) order by f.asset_id, f.face_index
