-- Assets.details: the lines of text of one photo in reading order; box: x, y four times in fractions. Primary key of ocr_texts.
select line.text, line.score, line.box
  from ocr_texts t
 cross join lateral rows from (jsonb_to_recordset(t.lines) as (text text, confidence float8, box float8[])) with ordinality as line(text, score, box, n)
 where t.user_id = $1 and t.asset_id = $2
 order by t.created_at desc, line.n
