insert into evenkeel_processed (claim_key, partition, log_offset)
values ($1, $2, $3)
on conflict do nothing
