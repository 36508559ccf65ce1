insert into evenkeel_processed (claim_key, partition, log_offset)
select unhex(value ->> 0), value ->> 1, value ->> 2 from json_each(?1)
where true
on conflict do nothing
returning claim_key
