-- open_workspace: the server process behind this connection, whose parent is the postmaster.
select pg_backend_pid()
