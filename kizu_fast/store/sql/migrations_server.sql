-- migrate._check_server: versions. The catalogues of extensions are tiny.
select current_setting('server_version_num')::int,
       current_setting('server_version'),
       coalesce((select extversion from pg_extension where extname = 'vector'),
                (select default_version from pg_available_extensions where name = 'vector')),
       (select datctype from pg_database where datname = current_database())
