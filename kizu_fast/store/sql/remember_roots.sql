-- Assets.remember_roots. Primary key.
insert into library_roots (path) select * from unnest($1::bytea[]) on conflict do nothing
