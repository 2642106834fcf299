"""What a terminal shows of an evaluation's records: a file for each that has its own form."""
