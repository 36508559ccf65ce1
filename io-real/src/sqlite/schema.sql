CREATE TABLE evenkeel_migrations (
    version integer primary key,
    applied_at text not null default current_timestamp
) strict;

CREATE TABLE evenkeel_processed (
    claim_key blob primary key not null,
    partition integer not null,
    log_offset integer not null,
    claimed_at text not null default current_timestamp
) strict, without rowid;
