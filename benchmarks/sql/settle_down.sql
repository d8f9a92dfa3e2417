-- fill.assets: what autovacuum would do within a minute, done now.
vacuum (analyze)
