-- listen.Wakeup._prove: $1 channel, $2 nonce.
select pg_notify($1, $2)
