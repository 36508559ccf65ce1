begin;
set local lock_timeout = {lock};
set local statement_timeout = {session};
set local idle_in_transaction_session_timeout = {session};
declare evenkeel_transaction cursor for values (1)
