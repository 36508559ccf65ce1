select set_config(name, $1, false) from pg_settings where name = 'client_connection_check_interval'
