select to_regclass('evenkeel_migrations') is not null
