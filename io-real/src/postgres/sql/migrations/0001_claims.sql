create table evenkeel_migrations (
    version integer primary key,
    applied_at timestamptz not null default now()
);

create table evenkeel_processed (
    claim_key bytea primary key,
    partition integer not null,
    log_offset bigint not null,
    claimed_at timestamptz not null default now()
);

comment on table evenkeel_processed is 'One row an event that a handler has processed exactly once';

insert into evenkeel_migrations (version) values (1);
