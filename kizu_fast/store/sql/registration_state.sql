-- Assets.register: every live asset that these paths or bytes speak of. asset_paths by primary key, assets_user_sha256_live, then primary keys.
with spoken as (
  select p.asset_id as id from asset_paths p where p.user_id = $1 and p.path = any($2::bytea[])
  union
  select a.id from assets a
   where a.user_id = $1 and a.content_sha256 = any($3::bytea[]) and a.content_sha256 is not null and a.deleted_at is null)
select a.id, a.content_sha256, (select f.path from asset_primary_path(a.id) f) as primary_path,
       array(select p.path from asset_paths p where p.asset_id = a.id) as paths,
       array(select distinct o.operation from asset_operations o where o.asset_id = a.id) as outcomes,
       array(select distinct x from processing_queue q cross join unnest(q.operations) x
              where q.asset_id = a.id and q.status in ('pending', 'processing')) as open
  from spoken join assets a on a.id = spoken.id
 where a.user_id = $1 and a.deleted_at is null
