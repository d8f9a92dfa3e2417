-- Results.settle: did the file change since it was registered, and are its bytes now those of another photo. $1 [{"id", "sha256"}] as JSON text.
-- Primary key of assets and asset_operations, assets_user_sha256_live.
select a.id,
       a.content_sha256 is not null and a.content_sha256 <> decode(f.sha256, 'hex') as changed,
       exists (select from assets b where b.user_id = a.user_id and b.content_sha256 = decode(f.sha256, 'hex') and b.content_sha256 is not null
                                      and b.deleted_at is null and b.id <> a.id) and a.deleted_at is null as taken,
       array(select distinct o.operation from asset_operations o where o.asset_id = a.id) as outcomes
  from jsonb_to_recordset($1::text::jsonb) as f(id uuid, sha256 text) join assets a on a.id = f.id
