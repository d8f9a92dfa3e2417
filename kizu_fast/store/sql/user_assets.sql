-- Assets.forget_user: deleted ones too. assets_user_sha256_live and assets_user_taken_live.
select id from assets where user_id = $1 order by id
