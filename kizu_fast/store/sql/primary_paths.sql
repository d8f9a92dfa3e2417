-- Assets.forget_below: the file to show from now on. Primary key of assets, asset_paths_asset.
select a.id, p.path from assets a cross join lateral asset_primary_path(a.id) p where a.user_id = $1 and a.id = any($2::uuid[])
