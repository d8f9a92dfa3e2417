-- Assets.register and Assets.forget_below: another file is the one to show. Primary key of assets.
update assets a set storage_path = f.path, original_filename = f.name, updated_at = now()
  from unnest($2::uuid[], $3::text[], $4::text[]) as f(id, path, name)
 where a.id = f.id and a.user_id = $1
