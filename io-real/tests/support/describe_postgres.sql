select string_agg(definition, E'\n' order by name) from (
    select t.relname as name,
           'create table ' || t.relname || E' (\n' || (
               select string_agg('    ' || line, E',\n' order by kind, place) from (
                   select 1 as kind, a.attnum as place,
                          a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
                          || case when a.attnotnull then ' not null' else '' end
                          || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '') as line
                   from pg_attribute a
                   left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
                   where a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
                   union all
                   select 2, row_number() over (order by c.conname),
                          'constraint ' || c.conname || ' ' || lower(pg_get_constraintdef(c.oid))
                   from pg_constraint c where c.conrelid = t.oid
               ) lines
           ) || E'\n);\n' || coalesce((
               select string_agg(lower(pg_get_indexdef(i.indexrelid)) || E';\n', '' order by i.indexrelid::regclass::text)
               from pg_index i where i.indrelid = t.oid and not i.indisprimary
           ), '') as definition
    from pg_class t
    where t.relkind = 'r' and t.relname like 'evenkeel\_%' and t.relnamespace = current_schema()::regnamespace
) tables
