-- Assets.by_id. Primary key of assets, asset_paths_asset.
select a.id, a.user_id, p.path, coalesce(p.byte_size, a.byte_size) as byte_size, p.mtime_ns, a.content_sha256, a.width, a.height
  from assets a left join lateral asset_primary_path(a.id) p on true
 where a.id = $2 and a.user_id = $1 and a.deleted_at is null
