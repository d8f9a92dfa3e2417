-- Results.settle: faces that were not seen again, unless a decision came in between. Primary key.
delete from face_embeddings f where f.id = any($1::uuid[]) and not exists (select from face_decisions d where d.face_id = f.id)
