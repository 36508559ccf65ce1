create table evenkeel_migrations (
    version integer not null,
    applied_at timestamp with time zone not null default now(),
    constraint evenkeel_migrations_pkey primary key (version)
);

create table evenkeel_processed (
    claim_key bytea not null,
    partition integer not null,
    log_offset bigint not null,
    claimed_at timestamp with time zone not null default now(),
    constraint evenkeel_processed_pkey primary key (claim_key)
);
