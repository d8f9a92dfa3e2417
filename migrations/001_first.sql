-- kizu_fast: the data layer: assets, queue, vectors, faces, objects, texts, captions, rights (reasons: docs/decisions/).
-- The gateway's tables (jobs, idempotency keys, undo) come in a migration of their own.
-- Runs unchanged on a plain PostgreSQL >= 15 with pgvector >= 0.8 (embedded server, Debian) and on a Supabase project.
-- Idempotent: a second run changes nothing. One transaction; the migration runner strips begin and commit, which are for psql, and holds an advisory lock around it.
begin;
set local search_path = public, extensions;
set local check_function_bodies = off;
set local client_min_messages = warning;

-- ---------------------------------------------------------------- 1. preconditions and extensions
do $$
begin
  if current_setting('server_version_num')::int < 150000 then
    raise exception 'PostgreSQL 15 or newer is required, this is %', current_setting('server_version');
  end if;
  if current_setting('server_encoding') <> 'UTF8' then
    raise exception 'database encoding must be UTF8, this is %', current_setting('server_encoding');
  end if;
end $$;

create schema if not exists extensions;          -- where Supabase keeps extensions; no-op there
create extension if not exists vector with schema extensions;   -- no-op if it already lives elsewhere (e.g. public)
do $$
begin
  if (select string_to_array(regexp_replace(extversion, '[^0-9.].*', ''), '.')::int[] from pg_extension where extname = 'vector') < array[0,8,0] then
    raise exception 'pgvector 0.8.0 or newer is required (iterative scans, halfvec)';
  end if;
  -- optional extensions: search degrades to per-user scans without them
  if exists (select from pg_available_extensions where name = 'pg_trgm')  then create extension if not exists pg_trgm  with schema extensions; end if;
  if exists (select from pg_available_extensions where name = 'unaccent') then create extension if not exists unaccent with schema extensions; end if;
end $$;

-- ---------------------------------------------------------------- 2. auth shim: only what is missing
-- Supabase brings roles anon/authenticated/service_role, auth.users, auth.uid(), auth.role(), auth.jwt(): nothing below touches those.
do $$
declare r text;
begin
  foreach r in array array['anon','authenticated','service_role'] loop
    if not exists (select from pg_roles where rolname = r) then
      begin
        execute format('create role %I nologin noinherit %s', r, case r when 'service_role' then 'bypassrls' else '' end);
      exception when duplicate_object or unique_violation then null;   -- roles are cluster-wide: another database may have just made it
      end;
    end if;
  end loop;
  if to_regnamespace('auth') is null then
    create schema auth;
    comment on schema auth is 'kizu_fast auth shim';
  end if;
  if to_regclass('auth.users') is null then
    create table auth.users (id uuid primary key default gen_random_uuid(), email text unique, created_at timestamptz not null default now());
  end if;
  if to_regprocedure('auth.jwt()') is null then
    execute $f$create function auth.jwt() returns jsonb language sql stable
      as $b$ select coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb $b$ $f$;
  end if;
  if to_regprocedure('auth.uid()') is null then
    execute $f$create function auth.uid() returns uuid language sql stable
      as $b$ select nullif(auth.jwt() ->> 'sub', '')::uuid $b$ $f$;
  end if;
  if to_regprocedure('auth.role()') is null then
    execute $f$create function auth.role() returns text language sql stable
      as $b$ select auth.jwt() ->> 'role' $b$ $f$;
  end if;
  if obj_description('auth'::regnamespace, 'pg_namespace') = 'kizu_fast auth shim' then
    grant usage on schema auth to anon, authenticated, service_role;
    grant all on auth.users to service_role;
    grant anon, authenticated, service_role to current_user;    -- so that the gateway may SET LOCAL ROLE
    execute format('alter database %I set search_path = "$user", public, extensions', current_database());   -- as on Supabase; new connections only
  end if;
end $$;
grant usage on schema public, extensions to anon, authenticated, service_role;

-- ---------------------------------------------------------------- 3. text normalisation (immutable, for generated columns)
-- NFKC folds full-width forms and ligatures; unaccent where present. Pinned dictionary argument keeps it honest as IMMUTABLE.
do $$
declare ns text := (select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'unaccent');
begin
  execute format($f$create or replace function public.kizu_normalize(t text) returns text
    language sql immutable strict parallel safe set search_path = ''
    as $b$ select %s $b$ $f$,
    case when ns is null then 'lower(normalize(t, NFKC))'
         else format('lower(%I.unaccent(%L::regdictionary, normalize(t, NFKC)))', ns, ns || '.unaccent') end);
end $$;

-- ---------------------------------------------------------------- 4. assets
-- On a Kizu project these tables exist already: create the minimum, then add what is missing.
create table if not exists assets (
  id         uuid primary key default gen_random_uuid(),
  user_id    uuid not null references auth.users(id) on delete cascade,
  created_at timestamptz not null default now()
);
alter table assets
  add column if not exists storage_bucket     text,
  add column if not exists storage_path       text,                 -- key in the bucket, or path below a library root
  add column if not exists original_filename  text,
  add column if not exists mime_type          text,
  add column if not exists byte_size          bigint,
  add column if not exists content_sha256     bytea,
  add column if not exists width              integer,              -- after EXIF orientation
  add column if not exists height             integer,
  add column if not exists exif_orientation   smallint,
  add column if not exists taken_at           timestamptz,          -- the instant (UTC); null when unknown
  add column if not exists taken_at_local     timestamp,            -- wall clock where it was taken: what 'last summer', 'in May' mean
  add column if not exists utc_offset_minutes smallint,             -- null: offset unknown, taken_at is then a guess
  add column if not exists taken_at_source    text,                 -- exif_offset | exif_gps | exif_naive | filename | mtime | user
  add column if not exists latitude           double precision,
  add column if not exists longitude          double precision,
  add column if not exists altitude_m         real,
  add column if not exists place_country      text,                 -- ISO 3166-1 alpha-2
  add column if not exists place_admin1       text,                 -- GeoNames admin1 code inside the country ('GA', '08'): what a query's state compares with, never a name
  add column if not exists place_region       text,                 -- its name, for display
  add column if not exists place_city         text,
  add column if not exists place_search       text,                 -- kizu_normalize(names in all languages), filled by the geocoder
  add column if not exists camera_make        text,
  add column if not exists camera_model       text,
  add column if not exists exif               jsonb,
  add column if not exists thumbnail_path     text,
  add column if not exists updated_at         timestamptz not null default now(),
  add column if not exists deleted_at         timestamptz;
do $$
begin
  if not exists (select from pg_constraint where conname = 'assets_kizu_checks' and conrelid = 'public.assets'::regclass) then
    alter table assets add constraint assets_kizu_checks check (
      (content_sha256 is null or octet_length(content_sha256) = 32)
      and (latitude  is null or latitude  between -90 and 90)
      and (longitude is null or longitude between -180 and 180)
      and (utc_offset_minutes is null or utc_offset_minutes between -900 and 900)
      and (byte_size is null or byte_size >= 0)) not valid;
  end if;
end $$;
-- same bytes imported twice by one user are one live asset
create unique index if not exists assets_user_sha256_live on assets (user_id, content_sha256) where deleted_at is null and content_sha256 is not null;
-- timeline pages and date filters of one user
create index if not exists assets_user_taken_live on assets (user_id, taken_at_local desc, id) where deleted_at is null;
-- place filter of one user
create index if not exists assets_user_admin1_live on assets (user_id, place_country, place_admin1) where deleted_at is null and place_country is not null;
-- city = point + radius: latitude band by the index, longitude and distance from its tuple
create index if not exists assets_user_geo_live on assets (user_id, latitude, longitude) where deleted_at is null and latitude is not null;
-- purge of soft-deleted rows
create index if not exists assets_deleted on assets (deleted_at) where deleted_at is not null;

create table if not exists album_assets (
  album_id   uuid not null,
  asset_id   uuid not null references assets(id) on delete cascade,
  user_id    uuid not null references auth.users(id) on delete cascade,
  created_at timestamptz not null default now(),
  primary key (album_id, asset_id)
);
alter table album_assets
  add column if not exists thumbnail_path text,
  add column if not exists position       integer;
-- cascade from assets, 'albums of this photo'
create index if not exists album_assets_asset on album_assets (asset_id);
-- RLS predicate
create index if not exists album_assets_user on album_assets (user_id);

-- ---------------------------------------------------------------- 5. queue
create table if not exists processing_queue (
  id               uuid primary key default gen_random_uuid(),
  asset_id         uuid not null references assets(id) on delete cascade,
  user_id          uuid not null references auth.users(id) on delete cascade,
  status           text not null default 'pending' check (status in ('pending','processing','completed','failed')),
  operations       text[] not null default '{embedding,objects,faces,ocr}' check (cardinality(operations) > 0),
  worker_id        text,
  priority         integer not null default 5 check (priority between 1 and 10),   -- 1 = first
  attempts         integer not null default 0,
  result           jsonb,                                                          -- small summary only: counts, timings, model ids
  error            text,
  created_at       timestamptz not null default now(),
  started_at       timestamptz,
  completed_at     timestamptz
);
alter table processing_queue
  add column if not exists max_attempts     integer not null default 3,
  add column if not exists not_before       timestamptz not null default now(),    -- due time; backoff moves it
  add column if not exists lease_expires_at timestamptz,                           -- never indexed: heartbeats stay HOT
  add column if not exists lease_token      bigint not null default 0,             -- fencing: +1 at every claim
  add column if not exists job_id           uuid;                                  -- groups rows for the API (the gateway's migration); null: made by the upload trigger
-- room for HOT heartbeats; vacuum early; a queue table must not wait for 20 % dead rows
alter table processing_queue set (fillfactor = 80,
  autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0,
  autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 1000);
-- the claim: equality on priority, range and order on due time
create index if not exists processing_queue_claim on processing_queue (priority, not_before, id) where status = 'pending';
-- stale reset and 'what is running': as small as the number of leases
create index if not exists processing_queue_running on processing_queue (worker_id) where status = 'processing';
-- cascade from assets, 'is this photo done'
create index if not exists processing_queue_asset on processing_queue (asset_id, status);
-- at most one pending job per asset: asking again merges, so no importer, webhook or double click makes the work grow
do $$
begin
  if to_regclass('public.processing_queue_one_pending') is null then
    update processing_queue q set operations = m.ops, priority = m.prio, not_before = m.due     -- a table that was there before may hold duplicates
      from (select (array_agg(p.id order by p.created_at, p.id))[1] as id, min(p.priority) as prio, min(p.not_before) as due,
                   (select array_agg(distinct o order by o) from processing_queue x, unnest(x.operations) o where x.asset_id = p.asset_id and x.status = 'pending') as ops
              from processing_queue p where p.status = 'pending' group by p.asset_id having count(*) > 1) m
     where q.id = m.id;
    delete from processing_queue q using processing_queue k
     where q.status = 'pending' and k.status = 'pending' and k.asset_id = q.asset_id and (k.created_at, k.id) < (q.created_at, q.id);
    create unique index processing_queue_one_pending on processing_queue (asset_id) where status = 'pending';
  end if;
end $$;
-- a user's job list (RLS predicate first)
create index if not exists processing_queue_user on processing_queue (user_id, created_at desc);
-- retention
create index if not exists processing_queue_done on processing_queue (completed_at) where status in ('completed','failed');

create or replace function kizu_union(a text[], b text[]) returns text[] language sql immutable parallel safe set search_path = '' as $$
  select array_agg(distinct o order by o) from unnest(a || b) o
$$;
-- enqueue one statement's worth of new assets with one insert and one wake-up
create or replace function kizu_enqueue_new_assets() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  -- an importer narrows the operations for its transaction: set local kizu.operations = 'embedding,objects'
  insert into public.processing_queue (asset_id, user_id, operations)
    select n.id, n.user_id, coalesce(string_to_array(nullif(current_setting('kizu.operations', true), ''), ','), '{embedding,objects,faces,ocr}')
      from new_rows n where n.deleted_at is null
    on conflict (asset_id) where status = 'pending' do nothing;      -- an upload never fails because of its job
  if found and coalesce(current_setting('kizu.notify', true), 'on') <> 'off' then
    perform pg_notify('processing_queue', '');      -- empty payload: equal notifications of one transaction collapse
  end if;
  return null;
end $$;
create or replace trigger assets_enqueue after insert on assets
  referencing new table as new_rows for each statement execute function kizu_enqueue_new_assets();

-- Lock order of everything that touches the queue: assets (by id) -> queue rows (by id, in one pass) -> jobs (by id). A row that was pending in the
-- snapshot but is claimed while we wait stays locked by us, so another order of rows does deadlock. FOR NO KEY UPDATE lets result writers (FOR KEY SHARE) pass.
create or replace function kizu_lock_assets(p_asset_ids uuid[]) returns void language plpgsql security definer set search_path = '' as $$
begin
  perform 1 from public.assets a where a.id = any(p_asset_ids) order by a.id for no key update;
end $$;
-- ask for (re)processing; merges into a pending job of the same asset
create or replace function enqueue_processing_job(p_asset_id uuid, p_operations text[] default null, p_priority int default 5)
returns uuid language plpgsql security definer set search_path = '' as $$
declare v_id uuid; v_new boolean;
begin
  insert into public.processing_queue as q (asset_id, user_id, operations, priority)
    select a.id, a.user_id, coalesce(p_operations, '{embedding,objects,faces,ocr}'), p_priority
      from public.assets a where a.id = p_asset_id and a.deleted_at is null for no key update of a
    on conflict (asset_id) where status = 'pending' do update
      set operations = public.kizu_union(q.operations, excluded.operations),
          priority = least(q.priority, excluded.priority), not_before = least(q.not_before, excluded.not_before)
    returning q.id, q.xmax = 0 into v_id, v_new;
  if v_new and coalesce(current_setting('kizu.notify', true), 'on') <> 'off' then
    perform pg_notify('processing_queue', '');
  end if;
  return v_id;     -- null: no such live asset
end $$;

-- claim up to p_limit due jobs. One index probe per priority, so jobs in backoff never stand in the way of due ones.
-- p_operations: only jobs that ask for nothing else (a worker that has not every model)
create or replace function claim_processing_jobs(p_worker_id text, p_limit int default 8, p_lease interval default '120 s', p_operations text[] default null)
returns setof processing_queue language sql volatile security definer set search_path = '' as $$
  with picked as materialized (
    select j.id
      from generate_series(1, 10) p(priority)
     cross join lateral (
       select q.id from public.processing_queue q
        where q.status = 'pending' and q.priority = p.priority and q.not_before <= now()
          and (p_operations is null or q.operations <@ p_operations)
        order by q.not_before, q.id
        limit p_limit
        for update skip locked) j
     limit p_limit)
  update public.processing_queue q
     set status = 'processing', worker_id = p_worker_id, attempts = q.attempts + 1, lease_token = q.lease_token + 1,
         lease_expires_at = clock_timestamp() + p_lease, started_at = clock_timestamp(), error = null
    from picked where q.id = picked.id
  returning q.*
$$;
-- the seed's single claim
create or replace function claim_processing_job(p_worker_id text default 'worker')
returns setof processing_queue language sql volatile security definer set search_path = '' as $$
  select * from public.claim_processing_jobs(p_worker_id, 1)
$$;

-- First statement of the transaction that writes results: locks the jobs this worker still owns and returns their ids.
-- Results are written for those ids only; then complete; then commit. A worker that lost its lease writes nothing.
create or replace function lock_claimed_jobs(p_ids uuid[], p_tokens bigint[])
returns setof uuid language plpgsql volatile security definer set search_path = '' as $$
begin
  -- photos first, as a deleted photo's cascade does: its owner waits or this job is gone, never a deadlock
  perform 1 from public.assets a where a.id in (select q.asset_id from public.processing_queue q where q.id = any(p_ids)) order by a.id for key share;
  return query
    select q.id from public.processing_queue q
      join unnest(p_ids, p_tokens) c(id, token) on c.id = q.id and c.token = q.lease_token
     where q.status = 'processing' order by q.id for update of q;
end $$;

create or replace function complete_processing_jobs(p_ids uuid[], p_tokens bigint[], p_results jsonb[] default null)
returns setof uuid language sql volatile security definer set search_path = '' as $$
  with mine as materialized (
    select q.id, c.result from public.processing_queue q
      join unnest(p_ids, p_tokens, coalesce(p_results, array_fill(null::jsonb, array[cardinality(p_ids)]))) c(id, token, result)
        on c.id = q.id and c.token = q.lease_token
     where q.status = 'processing' order by q.id for update of q)
  update public.processing_queue q
     set status = 'completed', completed_at = clock_timestamp(), lease_expires_at = null, result = mine.result, error = null
    from mine where q.id = mine.id
  returning q.id
$$;

-- The one way back to pending (caller went through kizu_lock_requeue and holds the row's lock). If the asset was enqueued again meanwhile, that job takes the operations over
-- and this one ends as completed with result.merged_into; a subtransaction per row, on the rare paths only. True: the row itself is pending.
create or replace function kizu_requeue(p_id uuid, p_not_before timestamptz, p_attempts int, p_error text) returns boolean
language plpgsql security definer set search_path = '' as $$
declare v public.processing_queue; v_into uuid;
begin
  loop
    begin
      update public.processing_queue q
         set status = 'pending', not_before = p_not_before, attempts = p_attempts, error = left(p_error, 2000),
             worker_id = null, lease_expires_at = null, started_at = null, completed_at = null
       where q.id = p_id;
      return true;
    exception when unique_violation then null;
    end;
    select * into v from public.processing_queue q where q.id = p_id;
    update public.processing_queue q
       set operations = public.kizu_union(q.operations, v.operations), priority = least(q.priority, v.priority)
     where q.asset_id = v.asset_id and q.status = 'pending' returning q.id into v_into;
    if found then
      update public.processing_queue q
         set status = 'completed', completed_at = clock_timestamp(), lease_expires_at = null, error = left(p_error, 2000),
             result = jsonb_build_object('merged_into', v_into)
       where q.id = p_id;
      return false;
    end if;                                          -- claimed in between: try again
  end loop;
end $$;

create or replace function kizu_lock_requeue(p_ids uuid[]) returns void language plpgsql security definer set search_path = '' as $$
declare v uuid[] := array(select q.asset_id from public.processing_queue q where q.id = any(p_ids));
begin
  perform public.kizu_lock_assets(v);
  perform 1 from public.processing_queue q where q.id = any(p_ids) or (q.asset_id = any(v) and q.status = 'pending') order by q.id for update;
end $$;

-- p_retry false: a permanent error (not an image, too large): failed at once. Else exponential backoff with jitter.
-- In a transaction of its own: complete and fail in one transaction may deadlock on the job counters of the gateway's migration (each locks jobs).
create or replace function fail_processing_jobs(p_ids uuid[], p_tokens bigint[], p_errors text[], p_retry boolean default true,
                                                p_base interval default '5 s', p_cap interval default '1 hour')
returns table (id uuid, status text, not_before timestamptz) language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_column
declare r record;
begin
  perform public.kizu_lock_requeue(p_ids);
  for r in
    select q.id, q.attempts, c.err, (p_retry and q.attempts < q.max_attempts) as again,
           clock_timestamp() + least(p_cap, p_base * power(2, least(q.attempts, 20) - 1)) * (0.5 + random()) as due
      from public.processing_queue q
      join unnest(p_ids, p_tokens, p_errors) c(id, token, err) on c.id = q.id and c.token = q.lease_token
     where q.status = 'processing' order by q.job_id, q.id
  loop
    if r.again then
      perform public.kizu_requeue(r.id, r.due, r.attempts, r.err);
    else
      update public.processing_queue q
         set status = 'failed', completed_at = clock_timestamp(), lease_expires_at = null, error = left(r.err, 2000) where q.id = r.id;
    end if;
    return query select q.id, q.status, q.not_before from public.processing_queue q where q.id = r.id;
  end loop;
end $$;

-- graceful shutdown: give back without counting the attempt
create or replace function release_processing_jobs(p_ids uuid[], p_tokens bigint[])
returns setof uuid language plpgsql volatile security definer set search_path = '' as $$
declare r record;
begin
  perform public.kizu_lock_requeue(p_ids);
  for r in
    select q.id, q.not_before, q.attempts from public.processing_queue q
      join unnest(p_ids, p_tokens) c(id, token) on c.id = q.id and c.token = q.lease_token
     where q.status = 'processing' order by q.job_id, q.id
  loop
    perform public.kizu_requeue(r.id, r.not_before, greatest(r.attempts - 1, 0), null);
    return next r.id;
  end loop;
end $$;

-- returns the ids still owned; the worker drops the rest at once
create or replace function heartbeat_processing_jobs(p_ids uuid[], p_tokens bigint[], p_lease interval default '120 s')
returns setof uuid language sql volatile security definer set search_path = '' as $$
  with mine as materialized (
    select q.id from public.processing_queue q
      join unnest(p_ids, p_tokens) c(id, token) on c.id = q.id and c.token = q.lease_token
     where q.status = 'processing' order by q.id for update of q)
  update public.processing_queue q set lease_expires_at = clock_timestamp() + p_lease
    from mine where q.id = mine.id
  returning q.id
$$;

-- any worker may call it at any time; counts crashes as attempts, so a picture that kills workers ends as failed
create or replace function reset_stale_processing_jobs(p_limit int default 1000)
returns integer language plpgsql volatile security definer set search_path = '' as $$
declare r record; n int := 0; v_ids uuid[];
begin
  v_ids := array(select q.id from public.processing_queue q where q.status = 'processing' and q.lease_expires_at < clock_timestamp() order by q.id limit p_limit);
  if v_ids = '{}' then return 0; end if;
  perform public.kizu_lock_requeue(v_ids);
  for r in
    select q.id, q.attempts, q.attempts >= q.max_attempts as dead, format('lease of %s expired (attempt %s)', coalesce(q.worker_id, '?'), q.attempts) as err
      from public.processing_queue q
     where q.id = any(v_ids) and q.status = 'processing' and q.lease_expires_at < clock_timestamp()
     order by q.job_id, q.id
  loop
    if r.dead then
      update public.processing_queue q
         set status = 'failed', completed_at = clock_timestamp(), error = r.err, worker_id = null, lease_expires_at = null where q.id = r.id;
    else
      perform public.kizu_requeue(r.id, clock_timestamp() + interval '5 s' * power(2, least(r.attempts, 10) - 1) * (0.5 + random()), r.attempts, r.err);
    end if;
    n := n + 1;
  end loop;
  return n;
end $$;

-- retention, called by a worker now and then
create or replace function purge_processing_jobs(p_completed interval default '7 days', p_failed interval default '90 days', p_limit int default 5000)
returns integer language sql volatile security definer set search_path = '' as $$
  with old as (
    select id from public.processing_queue
     where (status = 'completed' and completed_at < now() - p_completed) or (status = 'failed' and completed_at < now() - p_failed)
     limit p_limit for update skip locked),
  gone as (delete from public.processing_queue q using old where q.id = old.id returning 1)
  select count(*)::int from gone
$$;

-- What was done to an asset, one row per operation and model. State and not a view: a photo without faces has no face rows,
-- and completed queue rows are purged. Written in the transaction of the results.
create table if not exists asset_operations (
  asset_id   uuid not null references assets(id) on delete cascade,
  operation  text not null,
  model      text not null,                       -- what ran, e.g. open_clip/ViT-B-32/openai, scrfd_10g_bnkps+w600k_r50
  user_id    uuid not null references auth.users(id) on delete cascade,
  outcome    text not null check (outcome in ('done','failed')),                  -- failed: permanently, a rerun would fail again
  items      integer not null default 0,          -- faces, objects, lines found
  error      text,
  done_at    timestamptz not null default now(),
  primary key (asset_id, operation, model)
);
create index if not exists asset_operations_user on asset_operations (user_id, operation, model, outcome);       -- counters of one library, RLS predicate
-- coverage: the user's live assets without an outcome of this operation by this model ('missing' and 'model_changed' of the API)
create or replace function assets_missing(p_user_id uuid, p_operation text, p_model text) returns setof uuid
language sql stable set search_path = '' as $$
  select a.id from public.assets a
   where a.user_id = p_user_id and a.deleted_at is null
     and not exists (select from public.asset_operations o where o.asset_id = a.id and o.operation = p_operation and o.model = p_model)
$$;

-- ---------------------------------------------------------------- 6. models and vectors
create table if not exists embedding_models (
  id         smallint generated by default as identity (start with 100) primary key,
  kind       text not null check (kind in ('image','face')),
  name       text not null unique,                -- one name = one vector space: model, tag, preprocessing version and weights hash, e.g. open_clip/ViT-B-32/openai/p1/40d36571
  dim        smallint not null check (dim between 1 and 4000),
  is_active  boolean not null default false,      -- the space that search uses
  created_at timestamptz not null default now(),
  unique (id, dim)
);
-- one search space per kind; rows are made by the writer that fills the space, so that an empty one is never the active one
create unique index if not exists embedding_models_one_active on embedding_models (kind) where is_active;

create table if not exists image_embeddings (
  asset_id   uuid not null references assets(id) on delete cascade,
  model_id   smallint not null,
  user_id    uuid not null references auth.users(id) on delete cascade,
  embedding  halfvec not null,                    -- unit length; no typmod, so that models of several widths live here
  dim        smallint generated always as (vector_dims(embedding)) stored,
  created_at timestamptz not null default now(),
  primary key (asset_id, model_id),
  foreign key (model_id, dim) references embedding_models (id, dim)    -- a 768-wide vector cannot enter a 512-wide space
);
-- exact search in one user's library, and the RLS predicate
create index if not exists image_embeddings_user on image_embeddings (user_id, model_id);

-- Keys (user_id, id) let every reference below carry the user: no role can put a face, a merge or a decision into another user's people.
create table if not exists face_clusters (
  id            uuid primary key default gen_random_uuid(),
  user_id       uuid not null references auth.users(id) on delete cascade,
  name          text,
  contact_id    uuid,
  origin        text not null default 'auto' check (origin in ('auto','user')),   -- 'user': made, merged or split by hand; a pass never deletes it
  is_hidden     boolean not null default false,
  cover_face_id uuid,
  centroid      halfvec,
  model_id      smallint references embedding_models(id),
  face_count    integer not null default 0,
  merged_into   uuid check (merged_into <> id),   -- a tombstone for undo; goes with its target, else deleting the target would revive a merged-away person
  created_at    timestamptz not null default now(),
  updated_at    timestamptz not null default now(),
  unique (user_id, id),                           -- list of people, RLS predicate, target of the references
  foreign key (user_id, merged_into) references face_clusters (user_id, id) on delete cascade
);

-- one row per face, whatever the embedder: decisions hang on it; vectors live in face_vectors
create table if not exists face_embeddings (
  id             uuid primary key default gen_random_uuid(),
  asset_id       uuid not null references assets(id) on delete cascade,
  user_id        uuid not null references auth.users(id) on delete cascade,
  detector       text not null,                   -- e.g. scrfd_10g_bnkps; 'manual': a box drawn by hand
  face_index     smallint not null,               -- given at first sight, never renumbered: two writers of one asset collide here instead of doubling faces
  bbox           real[] not null check (cardinality(bbox) = 4),                   -- x, y, w, h as fractions of the oriented image
  landmarks      real[] check (cardinality(landmarks) in (10, 136)),
  det_score      real not null,
  quality        real,                            -- 0..1 from size, blur, pose; clustering ignores low ones
  thumbnail_path text,
  cluster_id     uuid,
  assigned_by    text check (assigned_by in ('auto','user')),
  created_at     timestamptz not null default now(),
  unique (asset_id, face_index),
  unique (user_id, id),                           -- faces of one user, RLS predicate, target of the references
  foreign key (user_id, cluster_id) references face_clusters (user_id, id) on delete set null (cluster_id)
);
create index if not exists face_embeddings_cluster on face_embeddings (user_id, cluster_id) where cluster_id is not null; -- photos of a person; the SET NULL above
do $$
begin
  if not exists (select from pg_constraint where conname = 'face_clusters_cover_fk') then
    alter table face_clusters add constraint face_clusters_cover_fk foreign key (user_id, cover_face_id)
      references face_embeddings (user_id, id) on delete set null (cover_face_id);
  end if;
end $$;
create index if not exists face_clusters_cover on face_clusters (user_id, cover_face_id) where cover_face_id is not null; -- the SET NULL above
create index if not exists face_clusters_merged on face_clusters (user_id, merged_into) where merged_into is not null;    -- the cascade above

-- a change of embedder adds rows here and touches neither faces nor decisions; search reads the active space
create table if not exists face_vectors (
  face_id    uuid not null,
  model_id   smallint not null,
  user_id    uuid not null,
  embedding  halfvec not null,                    -- unit length
  dim        smallint generated always as (vector_dims(embedding)) stored,
  created_at timestamptz not null default now(),
  primary key (face_id, model_id),
  foreign key (user_id, face_id) references face_embeddings (user_id, id) on delete cascade,
  foreign key (model_id, dim) references embedding_models (id, dim)
);
create index if not exists face_vectors_user on face_vectors (user_id, model_id);                                -- clustering and exact face search of one user

-- what a person said about a face; outlives every re-clustering
create table if not exists face_decisions (
  face_id    uuid not null,
  cluster_id uuid not null,
  user_id    uuid not null references auth.users(id) on delete cascade,
  decision   text not null check (decision in ('confirmed','rejected')),          -- rejected = 'not this person'
  decided_at timestamptz not null default now(),
  primary key (face_id, cluster_id),
  foreign key (user_id, face_id) references face_embeddings (user_id, id) on delete cascade,
  foreign key (user_id, cluster_id) references face_clusters (user_id, id) on delete cascade
);
create unique index if not exists face_decisions_one_confirmed on face_decisions (face_id) where decision = 'confirmed';  -- a face is one person
create index if not exists face_decisions_cluster on face_decisions (user_id, cluster_id);                       -- cascade, negatives of a cluster, RLS predicate

-- deleted as 'not a face' or forgotten: a new detection at IoU >= 0.5 is dropped
create table if not exists face_tombstones (
  id         bigint generated always as identity primary key,
  asset_id   uuid not null references assets(id) on delete cascade,
  user_id    uuid not null references auth.users(id) on delete cascade,
  bbox       real[] not null check (cardinality(bbox) = 4),
  reason     text not null check (reason in ('not_a_face','forget')),
  created_at timestamptz not null default now()
);
create index if not exists face_tombstones_asset on face_tombstones (asset_id);                                  -- re-detection, cascade
create index if not exists face_tombstones_user on face_tombstones (user_id);                                    -- RLS predicate

-- one row per user; its lock serialises statements about people and the commit of a pass
create table if not exists people_state (
  user_id     uuid primary key references auth.users(id) on delete cascade,
  rev         bigint not null default 0,          -- +1 per statement or commit; a pass compares it with its snapshot
  dirty_faces integer not null default 0,         -- unassigned good faces since the last full pass: when to run one
  last_pass   timestamptz
);
-- first statement of every transaction that writes faces' clusters, clusters or decisions
create or replace function people_lock(p_user_id uuid) returns bigint language sql volatile security definer set search_path = '' as $$
  insert into public.people_state as s (user_id, rev) values (p_user_id, 1) on conflict (user_id) do update set rev = s.rev + 1 returning s.rev
$$;
-- the only delete of clusters that a pass may run: decisions and tombstones cascade, so the statement itself proves there are none
create or replace function delete_empty_auto_clusters(p_user_id uuid) returns setof uuid
language plpgsql volatile security definer set search_path = '' as $$
begin
  perform public.people_lock(p_user_id);
  return query
    delete from public.face_clusters c
     where c.user_id = p_user_id and c.origin = 'auto' and c.name is null and c.contact_id is null and not c.is_hidden and c.merged_into is null
       and not exists (select from public.face_decisions d where d.user_id = c.user_id and d.cluster_id = c.id)
       and not exists (select from public.face_embeddings f where f.user_id = c.user_id and f.cluster_id = c.id)
       and not exists (select from public.face_clusters m where m.user_id = c.user_id and m.merged_into = c.id)
    returning c.id;
end $$;

-- ---------------------------------------------------------------- 7. objects, text, captions
create table if not exists detected_objects (
  id         bigint generated always as identity primary key,
  asset_id   uuid not null references assets(id) on delete cascade,
  user_id    uuid not null references auth.users(id) on delete cascade,
  model      text not null,
  class_id   smallint not null,
  label      text not null,
  confidence real not null,
  bbox       real[] not null check (cardinality(bbox) = 4)
);
create index if not exists detected_objects_user_label on detected_objects (user_id, label, confidence desc);    -- by-object search, list of labels
create index if not exists detected_objects_asset on detected_objects (asset_id, model);                         -- cascade, replace on re-run

create table if not exists ocr_texts (
  asset_id   uuid not null references assets(id) on delete cascade,
  model      text not null,
  user_id    uuid not null references auth.users(id) on delete cascade,
  full_text  text not null,                       -- lines joined by newline in reading order
  lines      jsonb not null,                      -- [{"text","confidence","lang","box":[x1,y1,..,x4,y4]}]
  languages  text[] not null default '{}',
  confidence real,
  search_text text generated always as (public.kizu_normalize(full_text)) stored,                               -- substring search, CJK
  tsv        tsvector generated always as (to_tsvector('simple'::regconfig, public.kizu_normalize(full_text))) stored,
  created_at timestamptz not null default now(),
  primary key (asset_id, model)
);
create index if not exists ocr_texts_user on ocr_texts (user_id);                                                -- RLS predicate; substring scan of one user
create index if not exists ocr_texts_tsv on ocr_texts using gin (tsv);                                           -- word search

create table if not exists captions (
  asset_id   uuid not null references assets(id) on delete cascade,
  model      text not null,
  user_id    uuid not null references auth.users(id) on delete cascade,
  caption    text not null,
  language   text,
  tsv        tsvector generated always as (to_tsvector('simple'::regconfig, public.kizu_normalize(caption))) stored,
  created_at timestamptz not null default now(),
  primary key (asset_id, model)
);
create index if not exists captions_user on captions (user_id);                                                  -- RLS predicate
create index if not exists captions_tsv on captions using gin (tsv);                                             -- word search
do $$
begin
  if exists (select from pg_extension where extname = 'pg_trgm') then                                            -- substring of 3+ characters over all users (service side)
    create index if not exists ocr_texts_trgm on ocr_texts using gin (search_text gin_trgm_ops);
  end if;
end $$;

-- ---------------------------------------------------------------- 8. vector index on demand
-- DDL that an administrator command runs outside a transaction, once a user's library outgrows the exact scan (beyond about 50,000 vectors).
-- Partial and cast: one graph per model; a query uses it only if it repeats the literal model_id and the cast.
create or replace function embedding_index_ddl(p_model_id smallint, p_m int default 16, p_ef_construction int default 64)
returns text language sql stable set search_path = '' as $$
  select format('create index concurrently if not exists %I on public.%I using hnsw ((embedding::%s.halfvec(%s)) %s.halfvec_cosine_ops) with (m = %s, ef_construction = %s) where model_id = %s',
    t.tbl || '_hnsw_m' || m.id, t.tbl, quote_ident(x.ns), m.dim, quote_ident(x.ns), p_m, p_ef_construction, m.id)
  from public.embedding_models m
  cross join lateral (select case m.kind when 'face' then 'face_vectors' else 'image_embeddings' end as tbl) t
  cross join lateral (select n.nspname as ns from pg_catalog.pg_extension e join pg_catalog.pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector') x
  where m.id = p_model_id
$$;

-- ---------------------------------------------------------------- 9. rights and row-level security
-- authenticated: reads its own rows; writes assets and albums; never the queue, vectors, faces, people or decisions. anon: nothing.
-- People are written by the gateway alone (service_role, user filtered): a client that moved a face would leave no decision row and skip people_lock.
do $$
declare t text;
begin
  foreach t in array array['assets','album_assets','processing_queue','asset_operations','image_embeddings','face_embeddings','face_vectors',
                           'face_clusters','face_decisions','face_tombstones','people_state','detected_objects','ocr_texts','captions'] loop
    execute format('alter table public.%I enable row level security', t);
    execute format('revoke all on public.%I from anon, authenticated', t);   -- Supabase's default privileges grant everything
    execute format('grant all on public.%I to service_role', t);
    execute format('grant select on public.%I to authenticated', t);
    execute format('drop policy if exists kizu_own_select on public.%I', t);
    execute format('create policy kizu_own_select on public.%I for select to authenticated using (user_id = (select auth.uid()))', t);
  end loop;
  foreach t in array array['assets','album_assets'] loop
    execute format('grant insert, update, delete on public.%I to authenticated', t);
    execute format('drop policy if exists kizu_own_insert on public.%I', t);
    execute format('drop policy if exists kizu_own_update on public.%I', t);
    execute format('drop policy if exists kizu_own_delete on public.%I', t);
    execute format('create policy kizu_own_insert on public.%I for insert to authenticated with check (user_id = (select auth.uid()))', t);
    execute format('create policy kizu_own_update on public.%I for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()))', t);
    execute format('create policy kizu_own_delete on public.%I for delete to authenticated using (user_id = (select auth.uid()))', t);
  end loop;
end $$;
-- cancelling: a user may delete his own pending job
grant delete on processing_queue to authenticated;
drop policy if exists kizu_cancel_pending on processing_queue;
create policy kizu_cancel_pending on processing_queue for delete to authenticated using (user_id = (select auth.uid()) and status = 'pending');
alter table embedding_models enable row level security;
revoke all on embedding_models from anon, authenticated;
grant select on embedding_models to authenticated;
grant all on embedding_models to service_role;
drop policy if exists kizu_models_read on embedding_models;
create policy kizu_models_read on embedding_models for select to authenticated using (true);

-- functions are executable by PUBLIC unless said otherwise; Supabase also grants to anon and authenticated by default privileges
do $$
declare f text;
begin
  for f in select p.oid::regprocedure::text from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname in
    ('kizu_enqueue_new_assets','enqueue_processing_job','claim_processing_jobs','claim_processing_job','lock_claimed_jobs','complete_processing_jobs',
     'fail_processing_jobs','release_processing_jobs','heartbeat_processing_jobs','reset_stale_processing_jobs','purge_processing_jobs','embedding_index_ddl',
     'kizu_requeue','kizu_lock_assets','kizu_lock_requeue','kizu_union','assets_missing','people_lock','delete_empty_auto_clusters') loop
    execute format('revoke all on function %s from public, anon, authenticated', f);
    execute format('grant execute on function %s to service_role', f);
  end loop;
end $$;
commit;
