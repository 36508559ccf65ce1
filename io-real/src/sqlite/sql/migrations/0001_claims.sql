create table evenkeel_migrations (
    version integer primary key,
    applied_at text not null default current_timestamp
) strict;

-- One row an event that a handler has processed exactly once.
create table evenkeel_processed (
    claim_key blob primary key not null,
    partition integer not null,
    log_offset integer not null,
    claimed_at text not null default current_timestamp
) strict, without rowid;

insert into evenkeel_migrations (version) values (1);
