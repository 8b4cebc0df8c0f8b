"""A real PostgreSQL for tests: one for all of a run, a database for each."""
