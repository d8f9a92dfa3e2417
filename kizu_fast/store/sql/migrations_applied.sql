-- migrate.migrate, at every start. Primary key of a table of a few rows.
select version, name, sha256 from public.kizu_migrations order by version
