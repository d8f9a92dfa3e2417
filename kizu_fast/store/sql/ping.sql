-- pool.reopen, listen: does the database answer?
select 1
