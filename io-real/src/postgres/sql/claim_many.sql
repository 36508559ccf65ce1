insert into evenkeel_processed (claim_key, partition, log_offset)
select * from unnest($1::bytea[], $2::integer[], $3::bigint[])
on conflict do nothing
returning claim_key
