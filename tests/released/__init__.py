"""Dumps of databases of each schema that was released, and what must be found in them after a migration."""
