-- Results.settle and Assets.register: what the file says of itself. $1 [{"id", "has_facts", facts, "byte_size", "sha256"}] as JSON text; without facts the
-- old ones stay. A time that the user set stays; without an offset the instant is unknown, so taken_at is null. Primary key of assets.
update assets a
   set width = case when f.has_facts then f.width else a.width end,
       height = case when f.has_facts then f.height else a.height end,
       exif_orientation = case when f.has_facts then f.orientation else a.exif_orientation end,
       mime_type = case when f.has_facts then f.mime_type else a.mime_type end,
       taken_at_local = case when f.has_facts and a.taken_at_source is distinct from 'user' then f.taken_at_local else a.taken_at_local end,
       utc_offset_minutes = case when f.has_facts and a.taken_at_source is distinct from 'user' then f.utc_offset_minutes else a.utc_offset_minutes end,
       taken_at = case when f.has_facts and a.taken_at_source is distinct from 'user'
                       then (f.taken_at_local - make_interval(mins => f.utc_offset_minutes)) at time zone 'UTC' else a.taken_at end,
       taken_at_source = case when f.has_facts and a.taken_at_source is distinct from 'user' then f.taken_at_source else a.taken_at_source end,
       latitude = case when f.has_facts then f.latitude else a.latitude end,
       longitude = case when f.has_facts then f.longitude else a.longitude end,
       altitude_m = case when f.has_facts then f.altitude_m else a.altitude_m end,
       camera_make = case when f.has_facts then f.camera_make else a.camera_make end,
       camera_model = case when f.has_facts then f.camera_model else a.camera_model end,
       byte_size = coalesce(f.byte_size, a.byte_size),
       content_sha256 = coalesce(decode(f.sha256, 'hex'), a.content_sha256),
       updated_at = now()
  from jsonb_to_recordset($1::text::jsonb)
       as f(id uuid, has_facts boolean, width int, height int, orientation smallint, mime_type text, taken_at_local timestamp, utc_offset_minutes int,
            taken_at_source text, latitude float8, longitude float8, altitude_m real, camera_make text, camera_model text, byte_size bigint, sha256 text)
 where a.id = f.id
