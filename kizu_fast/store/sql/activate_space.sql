-- Spaces.activate_if_whole, twice: the old one off, then the new one on. Primary key.
update embedding_models set is_active = $2 where id = $1::smallint
