-- Queue.purge. A queue table must not wait for autovacuum; a warning and nothing else for a role that does not own it.
vacuum (skip_locked, analyze) processing_queue
