-- Assets.register and Assets.forget: one at a time per user, who is made at first use; the insert trigger is told the operations. Primary key of auth.users.
with made as (insert into auth.users (id) select $1::uuid where not exists (select from auth.users where id = $1) on conflict do nothing)
select pg_advisory_xact_lock(hashtextextended('kizu_fast library ' || $1::text, 0)), set_config('kizu.operations', $2, true)
