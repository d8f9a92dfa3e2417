-- Assets.register: where the bytes lie. A row that says the same is touched once a day. Primary key of asset_paths.
insert into asset_paths as p (user_id, path, asset_id, byte_size, mtime_ns, content_sha256)
select $1, f.path, f.asset_id, f.byte_size, f.mtime_ns, f.sha256
  from unnest($2::bytea[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bytea[]) as f(path, asset_id, byte_size, mtime_ns, sha256)
on conflict (user_id, path) do update
  set asset_id = excluded.asset_id, byte_size = excluded.byte_size, mtime_ns = excluded.mtime_ns, content_sha256 = excluded.content_sha256, seen_at = now()
  where (p.asset_id, p.byte_size, p.mtime_ns, p.content_sha256)
        is distinct from (excluded.asset_id, excluded.byte_size, excluded.mtime_ns, excluded.content_sha256)
     or p.seen_at < now() - interval '1 day'
