-- store suite: tables like those of the results, indexes included, without the work around them.
create table if not exists bench_embeddings (like image_embeddings including all);
create table if not exists bench_objects (like detected_objects including all);
truncate bench_embeddings, bench_objects
