close evenkeel_transaction; commit and chain
