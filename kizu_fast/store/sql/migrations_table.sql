-- migrate._apply, under the lock.
create table if not exists public.kizu_migrations (
  version    integer primary key,
  name       text not null,
  sha256     text not null,
  applied_at timestamptz not null default now()
)
