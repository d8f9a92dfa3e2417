-- Results.settle: which of these jobs this worker still owns; locks them until the commit. Primary key.
select id from lock_claimed_jobs($1::uuid[], $2::bigint[]) as owned(id)
