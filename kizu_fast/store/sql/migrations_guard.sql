-- migrate._apply, under the lock. No policy: row-level security keeps everybody out but the owner and service_role.
alter table public.kizu_migrations enable row level security
