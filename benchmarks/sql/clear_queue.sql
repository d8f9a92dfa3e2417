-- fill.assets without jobs, and the pipeline between its warm-up and its rounds.
truncate processing_queue
