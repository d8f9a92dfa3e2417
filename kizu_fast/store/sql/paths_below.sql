-- Assets.forget_below: what lies at $2 or in the range [$3, $4) below it, and whether the asset has a file elsewhere. Primary key, asset_paths_asset.
select p.path, p.asset_id,
       exists (select from asset_paths o where o.asset_id = p.asset_id and o.path <> $2 and not (o.path >= $3 and o.path < $4)) as stays
  from asset_paths p
 where p.user_id = $1 and (p.path = $2 or (p.path >= $3 and p.path < $4))
 order by p.path
