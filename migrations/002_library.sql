-- kizu_fast: the local library: which files an asset has, which folders were ingested, and putting a job off (docs/decisions/004-library-paths.md).
-- Idempotent: a second run changes nothing. One transaction; the migration runner holds an advisory lock around it.
begin;
set local search_path = public, extensions;
set local check_function_bodies = off;
set local client_min_messages = warning;

-- ---------------------------------------------------------------- 1. files of an asset
-- An asset is its bytes; the files that carry them are rows here. bytea, since a file name need not be text.
create table if not exists asset_paths (
  user_id        uuid not null references auth.users(id) on delete cascade,
  path           bytea not null,
  asset_id       uuid not null references assets(id) on delete cascade,
  byte_size      bigint,
  mtime_ns       bigint,
  content_sha256 bytea check (content_sha256 is null or octet_length(content_sha256) = 32),
  seen_at        timestamptz not null default now(),
  primary key (user_id, path)                     -- lookup by path; everything below a folder is a range of it
);
-- cascade from assets, 'other copies of this photo'
create index if not exists asset_paths_asset on asset_paths (asset_id);

-- folders that were ingested: the worker reads nothing outside them unless LIBRARY_ROOT says otherwise
create table if not exists library_roots (
  path     bytea primary key,
  added_at timestamptz not null default now()
);

-- the file to read and to show: the one that assets.storage_path names if it is still there, else the one seen last
create or replace function asset_primary_path(p_asset_id uuid)
returns setof asset_paths language sql stable security definer set search_path = '' as $$
  select p.* from public.asset_paths p join public.assets a on a.id = p.asset_id
   where p.asset_id = p_asset_id
   order by p.path is not distinct from convert_to(a.storage_path, 'UTF8') desc, p.seen_at desc, p.path
   limit 1
$$;

-- ---------------------------------------------------------------- 2. queue
-- Claim and the facts of the claimed assets in one round trip. Two statements, so that the second sees what the first claimed.
create or replace function claim_jobs_with_assets(p_worker_id text, p_limit int, p_lease interval, p_operations text[] default null)
returns table (id uuid, asset_id uuid, user_id uuid, operations text[], attempts int, max_attempts int, lease_token bigint,
               path bytea, byte_size bigint, mtime_ns bigint, content_sha256 bytea, width int, height int)
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_column
declare v public.processing_queue[] := array(select c from public.claim_processing_jobs(p_worker_id, p_limit, p_lease, p_operations) c);
begin
  return query
    select q.id, q.asset_id, q.user_id, q.operations, q.attempts, q.max_attempts, q.lease_token,
           p.path, coalesce(p.byte_size, a.byte_size), p.mtime_ns, coalesce(p.content_sha256, a.content_sha256), a.width, a.height
      from unnest(v) q
      join public.assets a on a.id = q.asset_id
      left join lateral public.asset_primary_path(q.asset_id) p on true
     order by q.priority, q.not_before, q.id;
end $$;

-- not now: a file that is still being copied. Back to pending, due later, the attempt given back, the reason kept
create or replace function defer_processing_jobs(p_ids uuid[], p_tokens bigint[], p_delay interval, p_errors text[])
returns setof uuid language plpgsql volatile security definer set search_path = '' as $$
declare r record;
begin
  perform public.kizu_lock_requeue(p_ids);
  for r in
    select q.id, q.attempts, c.err from public.processing_queue q
      join unnest(p_ids, p_tokens, p_errors) c(id, token, err) on c.id = q.id and c.token = q.lease_token
     where q.status = 'processing' order by q.job_id, q.id
  loop
    perform public.kizu_requeue(r.id, clock_timestamp() + p_delay, greatest(r.attempts - 1, 0), r.err);
    return next r.id;
  end loop;
end $$;

-- Ask for (re)processing of many assets at once (of one user, null: of all); merges into pending jobs. Returns the assets whose job is new or grew.
create or replace function enqueue_processing_jobs(p_user_id uuid, p_asset_ids uuid[], p_operations jsonb, p_priority int default 5)
returns setof uuid language plpgsql volatile security definer set search_path = '' as $$
declare v uuid[];
begin
  -- p_operations: {asset id: [operation, ...]}; assets first, as everything that touches the queue does
  perform public.kizu_lock_assets(p_asset_ids);
  with asked as (
    select a.id, a.user_id, array(select distinct o from jsonb_array_elements_text(p_operations -> a.id::text) o order by o) as operations
      from public.assets a
     where a.id = any(p_asset_ids) and (p_user_id is null or a.user_id = p_user_id) and a.deleted_at is null
     order by a.id),
  put as (
    insert into public.processing_queue as q (asset_id, user_id, operations, priority)
      select id, user_id, operations, p_priority from asked where cardinality(operations) > 0
    on conflict (asset_id) where status = 'pending' do update
      set operations = public.kizu_union(q.operations, excluded.operations),
          priority = least(q.priority, excluded.priority), not_before = least(q.not_before, excluded.not_before)
      where not (q.operations @> excluded.operations and q.priority <= excluded.priority and q.not_before <= excluded.not_before)
    returning q.asset_id)
  select coalesce(array_agg(put.asset_id), '{}') into v from put;
  if v <> '{}' and coalesce(current_setting('kizu.notify', true), 'on') <> 'off' then
    perform pg_notify('processing_queue', '');
  end if;
  return query select unnest(v);
end $$;

-- ---------------------------------------------------------------- 3. rights and row-level security, as in the first migration
do $$
declare f text;
begin
  alter table public.asset_paths enable row level security;
  revoke all on public.asset_paths from anon, authenticated;
  grant all on public.asset_paths to service_role;
  grant select on public.asset_paths to authenticated;
  drop policy if exists kizu_own_select on public.asset_paths;
  create policy kizu_own_select on public.asset_paths for select to authenticated using (user_id = (select auth.uid()));

  alter table public.library_roots enable row level security;       -- no policy: folders of the host are nobody's rows
  revoke all on public.library_roots from anon, authenticated;
  grant all on public.library_roots to service_role;

  for f in select p.oid::regprocedure::text from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname in
    ('asset_primary_path','claim_jobs_with_assets','defer_processing_jobs','enqueue_processing_jobs') loop
    execute format('revoke all on function %s from public, anon, authenticated', f);
    execute format('grant execute on function %s to service_role', f);
  end loop;
end $$;
commit;
