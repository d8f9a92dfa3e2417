-- Database.read, first statement of the transaction: row-level security then shows the rows of this user only. No table.
select set_config('role', 'authenticated', true), set_config('request.jwt.claims', jsonb_build_object('sub', $1::uuid, 'role', 'authenticated')::text, true)
