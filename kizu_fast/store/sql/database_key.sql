-- Thumbnails.sweep: what tells this database from another that was made by the same migrations. Primary key.
select md5(version::text || ' ' || extract(epoch from applied_at)::text) from public.kizu_migrations order by version limit 1
