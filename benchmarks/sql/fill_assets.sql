-- fill.assets: photos $2 to $3 of a user with one path each; the trigger assets_enqueue makes a pending job for every one.
with made as (
  insert into assets (user_id, storage_path, original_filename, mime_type, byte_size, content_sha256, width, height, exif_orientation)
  select $1::uuid, '/photos/' || n || '.jpg', n || '.jpg', 'image/jpeg', 2500000, sha256(convert_to($1::uuid::text || n, 'UTF8')), 4032, 3024, 1
    from generate_series($2::int, $3::int) n
  returning id, storage_path, byte_size, content_sha256)
insert into asset_paths (user_id, path, asset_id, byte_size, mtime_ns, content_sha256)
select $1::uuid, convert_to(storage_path, 'UTF8'), id, byte_size, 1700000000000000000, content_sha256 from made
