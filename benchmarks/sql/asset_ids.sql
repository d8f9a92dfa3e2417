-- Every photo of a user. Index assets_user_sha256_live.
select id from assets where user_id = $1 and deleted_at is null order by id
