-- store/overview.py, for `status --summary`. Index: processing_queue_user for the list, processing_queue_asset for the newest job of a photo.
select q.error
  from public.processing_queue q
 where q.user_id = $1 and q.status = 'failed' and q.error is not null
   and not exists (select from public.processing_queue newer where newer.asset_id = q.asset_id and newer.created_at > q.created_at)
 order by q.completed_at desc
 limit $2
