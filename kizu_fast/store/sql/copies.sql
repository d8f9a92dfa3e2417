-- Assets.copies. assets_user_sha256_live, then asset_paths_asset.
select a.content_sha256, p.path from assets a join asset_paths p on p.asset_id = a.id and p.user_id = a.user_id
 where a.user_id = $1 and a.content_sha256 = any($2::bytea[]) and a.content_sha256 is not null and a.deleted_at is null
 order by p.path
