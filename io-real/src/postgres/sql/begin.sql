begin; declare evenkeel_transaction cursor for values (1)
