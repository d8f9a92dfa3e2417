-- Results.settle, last statement of the transaction that wrote the results. Primary key.
select id from complete_processing_jobs($1::uuid[], $2::bigint[], $3::text[]::jsonb[]) as completed(id)
