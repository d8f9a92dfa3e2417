-- First statement of every transaction that writes assets or the queue: the lock order begins with assets. Primary key.
select kizu_lock_assets($1::uuid[])
