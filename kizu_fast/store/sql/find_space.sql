-- Spaces.ensure_space. Unique index on name.
select id, kind, dim from embedding_models where name = $1
