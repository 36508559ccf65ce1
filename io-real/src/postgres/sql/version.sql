select coalesce(max(version), 0) from evenkeel_migrations
