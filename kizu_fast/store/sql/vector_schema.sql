-- pool.open_pool: pgvector lies in schema extensions here and on new Supabase projects, in public on many old ones.
select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector'
