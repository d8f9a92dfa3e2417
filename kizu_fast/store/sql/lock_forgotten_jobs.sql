-- Assets.forget: then the queue rows by id. Index processing_queue_asset.
select id from processing_queue where asset_id = any($1::uuid[]) order by id for update
