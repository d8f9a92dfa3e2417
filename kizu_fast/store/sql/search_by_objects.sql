-- Search.by_objects. Index detected_objects_user_label.
select o.asset_id, sum(o.confidence)::float8 as score
  from detected_objects o join assets a on a.id = o.asset_id and a.deleted_at is null
 where o.user_id = $1 and o.label = any($2::text[])
 group by o.asset_id
 order by score desc, o.asset_id
 limit $3
