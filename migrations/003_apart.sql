-- Jobs that ask for nothing but slow operations can be left out of a claim: a worker takes them only when nothing else waits. The two claims are made
-- anew with a parameter more; whoever calls them without it gets what they gave before.
begin;
drop function if exists claim_jobs_with_assets(text, int, interval, text[]);
drop function if exists claim_processing_jobs(text, int, interval, text[]);

-- p_operations: only jobs that ask for nothing else; p_without: no job that asks for nothing but these
create or replace function claim_processing_jobs(p_worker_id text, p_limit int default 8, p_lease interval default '120 s',
                                                 p_operations text[] default null, p_without text[] default null)
returns setof processing_queue language sql volatile security definer set search_path = '' as $$
  with picked as materialized (
    select j.id
      from generate_series(1, 10) p(priority)
     cross join lateral (
       select q.id from public.processing_queue q
        where q.status = 'pending' and q.priority = p.priority and q.not_before <= now()
          and (p_operations is null or q.operations <@ p_operations)
          and (p_without is null or not q.operations <@ p_without)
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

create or replace function claim_jobs_with_assets(p_worker_id text, p_limit int, p_lease interval, p_operations text[] default null,
                                                  p_without text[] default null)
returns table (id uuid, asset_id uuid, user_id uuid, operations text[], attempts int, max_attempts int, lease_token bigint,
               path bytea, byte_size bigint, mtime_ns bigint, content_sha256 bytea, width int, height int)
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_column
declare v public.processing_queue[] :=
  array(select c from public.claim_processing_jobs(p_worker_id, p_limit, p_lease, p_operations, p_without) c);
begin
  return query
    select q.id, q.asset_id, q.user_id, q.operations, q.attempts, q.max_attempts, q.lease_token,
           p.path, coalesce(p.byte_size, a.byte_size), p.mtime_ns, coalesce(p.content_sha256, a.content_sha256), a.width, a.height
      from unnest(v) q
      join public.assets a on a.id = q.asset_id
      left join lateral public.asset_primary_path(q.asset_id) p on true
     order by q.priority, q.not_before, q.id;
end $$;

do $$
declare f text;
begin
  for f in select p.oid::regprocedure::text from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname in
    ('claim_processing_jobs','claim_jobs_with_assets') loop
    execute format('revoke all on function %s from public, anon, authenticated', f);
    execute format('grant execute on function %s to service_role', f);
  end loop;
end $$;
commit;
