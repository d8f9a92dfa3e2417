-- Search.by_caption: photos whose caption holds any of what was asked, those that hold most of it first. $2 forms of words (tsv), $3 pieces.
-- Index captions_user.
select c.asset_id, c.caption as shown, kizu_normalize(c.caption) as folded
  from (select t.asset_id, t.caption,
               (select count(*) from unnest($2::text[]) w where t.tsv @@ plainto_tsquery('simple', w))
             + (select count(*) from unnest($3::text[]) p where strpos(kizu_normalize(t.caption), p) > 0) as hits
          from captions t
          join assets a on a.id = t.asset_id and a.user_id = t.user_id and a.deleted_at is null
         where t.user_id = $1) c
 where c.hits > 0
 order by c.hits desc, c.asset_id
 limit $4
