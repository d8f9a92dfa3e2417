-- Results.settle, before the COPY that replaces them: the unit is the asset, whatever model read them. Primary keys of ocr_texts and asset_operations.
with outcomes as (delete from asset_operations where asset_id = any($1::uuid[]) and operation = 'ocr')
delete from ocr_texts where asset_id = any($1)
