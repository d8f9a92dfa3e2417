-- store/overview.py, for `status --summary`. Index: detected_objects_user_label.
select o.label, count(*)::int as n
  from public.detected_objects o
  join public.assets a on a.id = o.asset_id and a.deleted_at is null
 where o.user_id = $1
 group by o.label
 order by n desc, o.label
