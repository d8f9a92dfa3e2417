-- Assets.register: assets whose last file was overwritten with other bytes. Primary key of assets, processing_queue_asset.
with cancelled as (delete from processing_queue where asset_id = any($2::uuid[]) and status = 'pending')
update assets set deleted_at = now(), updated_at = now() where user_id = $1 and id = any($2)
