"""What a STARTING operation is to do, one file a kind of operation: facts are gathered, pure functions decide."""
