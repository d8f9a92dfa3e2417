-- Results.settle: faces that were seen again keep their row, and with it every decision. Primary key.
update face_embeddings f set detector = n.detector, bbox = n.bbox, landmarks = n.landmarks, det_score = n.det_score, quality = n.quality,
       thumbnail_path = n.thumbnail_path
  from jsonb_to_recordset($1::jsonb) as n(id uuid, detector text, bbox real[], landmarks real[], det_score real, quality real, thumbnail_path text)
 where f.id = n.id
