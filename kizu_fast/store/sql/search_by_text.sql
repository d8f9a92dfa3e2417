-- Search.by_text: photos whose text holds any of what was asked, those that hold most of it first. $2 words (tsv), $3 patterns of words that may stand within
-- others, $4 pieces that are looked for with all spaces taken out. Index ocr_texts_user; the GIN indexes serve nobody under row-level security.
with asked as materialized (
  select string_agg(q::text, ' | ')::tsquery as any_word from (select plainto_tsquery('simple', w) as q from unnest($2::text[]) w) words where numnode(q) > 0)
select c.asset_id, c.full_text as shown, c.search_text as folded
  from (select t.asset_id, t.full_text, t.search_text
          from ocr_texts t join assets a on a.id = t.asset_id and a.user_id = t.user_id and a.deleted_at is null
         where t.user_id = $1
           and (t.tsv @@ (select any_word from asked)
                or t.search_text like any($3::text[])
                or (cardinality($4::text[]) > 0
                    and exists (select from unnest($4) p where strpos(translate(t.search_text, E' \n', ''), p) > 0)))) c
 order by (select count(*) from unnest($3) w where c.search_text like w) desc, c.asset_id
 limit $5
