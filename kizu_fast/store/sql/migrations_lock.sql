-- migrate._apply: of several processes that start at once, one applies. Ends with the transaction, so that it works through poolers.
select pg_advisory_xact_lock($1)
