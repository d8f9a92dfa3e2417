-- Assets.forget_user: people are the user's, not a photo's. Unique index (user_id, id) of face_clusters.
with state as (delete from people_state where user_id = $1)
delete from face_clusters where user_id = $1
