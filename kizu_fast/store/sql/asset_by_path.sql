-- Assets.by_path. Primary keys of asset_paths and assets.
select a.id, a.user_id, p.path, p.byte_size, p.mtime_ns, a.content_sha256, a.width, a.height
  from asset_paths p join assets a on a.id = p.asset_id and a.user_id = p.user_id
 where p.user_id = $1 and p.path = $2 and a.deleted_at is null
