-- Assets.known_paths: the file $2 and the range [$3, $4) of everything below it. Primary key of asset_paths, then of assets.
select p.path, p.asset_id, p.byte_size, p.mtime_ns, p.content_sha256
  from asset_paths p join assets a on a.id = p.asset_id and a.deleted_at is null
 where p.user_id = $1 and (p.path = $2 or (p.path >= $3 and p.path < $4))
