-- queue suite, between rounds: ended rows go, so that every round meets the same table.
delete from processing_queue where status = 'completed'
