-- Workspace.library: names cannot be parameters; ours are constants of the suites.
create database benchmark_name
