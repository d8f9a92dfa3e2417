-- Assets.details: objects of one photo, best first. Index detected_objects_asset.
select label, confidence, bbox from detected_objects where user_id = $1 and asset_id = $2 order by confidence desc, id
