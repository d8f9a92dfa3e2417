-- Search.by_text: photos whose text holds any of what was asked, those that hold most of it first. $2 words (tsv), $3 words of some length and pieces
-- (within words, spaces apart), $4 the phrase without spaces or ''. Index ocr_texts_user; the GIN indexes serve nobody under row-level security.
select c.asset_id, c.full_text as shown, c.search_text as folded
  from (select t.asset_id, t.full_text, t.search_text, s.squeezed,
               (select count(*) from unnest($2::text[]) w where t.tsv @@ plainto_tsquery('simple', w))
             + (select count(*) from unnest($3::text[]) p where strpos(s.squeezed, p) > 0) as hits
          from ocr_texts t
          join assets a on a.id = t.asset_id and a.user_id = t.user_id and a.deleted_at is null
         cross join lateral (select translate(t.search_text, E' \n', '') as squeezed) s
         where t.user_id = $1) c
 where c.hits > 0 or ($4::text <> '' and strpos(c.squeezed, $4) > 0)
 order by ($4::text <> '' and strpos(c.squeezed, $4) > 0) desc, c.hits desc, c.asset_id
 limit $5
