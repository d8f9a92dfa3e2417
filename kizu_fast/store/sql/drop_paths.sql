-- Assets.register and Assets.forget_below: files that are gone. Primary key of asset_paths.
delete from asset_paths where user_id = $1 and path = any($2::bytea[])
