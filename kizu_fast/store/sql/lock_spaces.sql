-- Spaces.activate_if_whole: one switch at a time. A handful of rows.
select id, kind, name, is_active from embedding_models where kind = (select kind from embedding_models where name = $1) order by id for update
