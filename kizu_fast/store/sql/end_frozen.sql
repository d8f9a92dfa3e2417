-- Queue.reset_stale: ends sessions of ours that have waited for their client in the middle of a transaction for 10 s: a frozen process, a host that is gone.
-- idle_in_transaction_session_timeout does not see a client that stops between two messages of one statement, statement_timeout neither. Few rows, no table.
select pg_terminate_backend(pid) from pg_stat_activity
 where datname = current_database() and usename = current_user and pid <> pg_backend_pid() and application_name like 'kizu_fast%'
   and xact_start is not null and wait_event = 'ClientRead' and state_change < clock_timestamp() - interval '10 s'
