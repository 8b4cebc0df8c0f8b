"""What earlier releases left: databases of each schema, state directories of each form; all must be read."""
