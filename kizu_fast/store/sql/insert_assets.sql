-- Assets.register: new assets; the trigger assets_enqueue queues them. $2 as in update_assets with "path" and "name". assets_user_sha256_live.
insert into assets (id, user_id, storage_path, original_filename, byte_size, content_sha256, width, height, exif_orientation, mime_type, taken_at_local,
                    utc_offset_minutes, taken_at, taken_at_source, latitude, longitude, altitude_m, camera_make, camera_model)
select f.id, $1, f.path, f.name, f.byte_size, decode(f.sha256, 'hex'), f.width, f.height, f.orientation, f.mime_type, f.taken_at_local,
       f.utc_offset_minutes, (f.taken_at_local - make_interval(mins => f.utc_offset_minutes)) at time zone 'UTC', f.taken_at_source,
       f.latitude, f.longitude, f.altitude_m, f.camera_make, f.camera_model
  from jsonb_to_recordset($2::text::jsonb)
       as f(id uuid, path text, name text, width int, height int, orientation smallint, mime_type text, taken_at_local timestamp, utc_offset_minutes int,
            taken_at_source text, latitude float8, longitude float8, altitude_m real, camera_make text, camera_model text, byte_size bigint, sha256 text)
on conflict (user_id, content_sha256) where deleted_at is null and content_sha256 is not null do nothing
returning id
