-- migrate._apply, in the transaction of the file itself.
insert into public.kizu_migrations (version, name, sha256) values ($1, $2, $3)
