-- Search.by_caption: photos whose caption holds any of what was asked, those that hold most of it first. $2 forms of words (tsv), $3 pieces.
-- Index captions_user.
with asked as materialized (
  select string_agg(q::text, ' | ')::tsquery as any_word from (select plainto_tsquery('simple', w) as q from unnest($2::text[]) w) words where numnode(q) > 0)
select c.asset_id, c.caption as shown, kizu_normalize(c.caption) as folded
  from (select t.asset_id, t.caption, ts_rank(t.tsv, (select any_word from asked)) as share
          from captions t join assets a on a.id = t.asset_id and a.user_id = t.user_id and a.deleted_at is null
         where t.user_id = $1
           and (t.tsv @@ (select any_word from asked)
                or (cardinality($3::text[]) > 0 and exists (select from unnest($3) p where strpos(kizu_normalize(t.caption), p) > 0)))) c
 order by c.share desc nulls last, c.asset_id
 limit $4
