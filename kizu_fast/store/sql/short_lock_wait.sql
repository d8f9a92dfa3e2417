-- Queue.reset_stale: for this transaction, a row that somebody else has locked is waited for this long only. No table.
select set_config('lock_timeout', '2s', true)
