-- Assets.forget: assets by id, the lock that their delete takes. Primary key.
select id from assets where user_id = $1 and id = any($2::uuid[]) order by id for update
