set constraints all immediate; commit and chain
