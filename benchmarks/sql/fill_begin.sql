-- fill.assets: the owner of the photos, and what the insert trigger shall queue, in this transaction only.
with made as (insert into auth.users (id) values ($1::uuid) on conflict do nothing)
select set_config('kizu.operations', $2::text, true), set_config('kizu.notify', 'off', true)
