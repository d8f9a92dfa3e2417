-- Results.settle, before the COPY that replaces them. Primary key.
delete from face_vectors v using unnest($1::uuid[], $2::smallint[]) as n(face_id, model_id) where v.face_id = n.face_id and v.model_id = n.model_id
