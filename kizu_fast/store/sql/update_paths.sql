-- Results.settle: size, time and hash of the files that were read. Primary key of asset_paths.
update asset_paths p
   set byte_size = coalesce(f.byte_size, p.byte_size), mtime_ns = coalesce(f.mtime_ns, p.mtime_ns), content_sha256 = coalesce(f.sha256, p.content_sha256)
  from unnest($1::uuid[], $2::bytea[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bytea[]) as f(user_id, path, asset_id, byte_size, mtime_ns, sha256)
 where p.user_id = f.user_id and p.path = f.path and p.asset_id = f.asset_id
