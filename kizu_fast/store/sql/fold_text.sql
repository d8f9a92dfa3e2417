-- Search.by_text and Search.by_caption: the question as the columns search_text and tsv hold their text. No table.
select kizu_normalize($1)
