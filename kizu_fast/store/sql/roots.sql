-- Assets.roots. A handful of rows.
select path from library_roots order by path
