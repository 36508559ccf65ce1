select group_concat(sql || ';' || char(10), char(10) order by name)
from sqlite_schema
where sql is not null and name like 'evenkeel\_%' escape '\'
