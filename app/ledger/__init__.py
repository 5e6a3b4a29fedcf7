"""What we know, on disk: SQL. Functions take a connection, filter by tenant first and never commit."""
