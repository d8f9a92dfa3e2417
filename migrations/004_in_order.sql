-- Photos and jobs used to have random ids, and all jobs of one statement the same due time: every claim from a long queue touched other pages of tables
-- and indexes. Ids begin with the time of writing now, due times grow by row, and claims walk the pages in order (docs/decisions/024-ids-in-order.md).
-- No job waits longer for it: whoever claims it begins after the commit.
begin;
-- Version 7 of RFC 9562. PostgreSQL 18 has uuidv7() of its own, 15 to 17 do not.
create or replace function kizu_uuid_v7() returns uuid language sql volatile parallel safe set search_path = '' as $$
  select encode(set_byte(b, 6, get_byte(b, 6) & 15 | 112), 'hex')::uuid
    from (select substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) || substring(uuid_send(gen_random_uuid()) from 7)) v(b)
$$;
revoke all on function kizu_uuid_v7() from public, anon;
grant execute on function kizu_uuid_v7() to authenticated, service_role;  -- whoever may insert a photo

alter table assets alter column id set default kizu_uuid_v7();
alter table processing_queue alter column id set default kizu_uuid_v7(), alter column not_before set default clock_timestamp();
commit;
