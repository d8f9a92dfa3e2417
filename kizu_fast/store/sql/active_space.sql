-- Spaces.active_space. Index embedding_models_one_active.
select id, name, dim from embedding_models where kind = $1 and is_active
