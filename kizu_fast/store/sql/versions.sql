-- store/library.py, for doctor: what the server is. Reads the catalogue only.
select current_setting('server_version') as server, coalesce((select e.extversion from pg_catalog.pg_extension e where e.extname = 'vector'), 'missing') as pgvector
