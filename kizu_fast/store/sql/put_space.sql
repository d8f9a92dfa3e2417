-- Spaces.ensure_space. Several workers may make it at once. Unique index on name.
insert into embedding_models (kind, name, dim) values ($1, $2, $3) on conflict (name) do nothing
