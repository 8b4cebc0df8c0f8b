"""What the server remembers: commands and queries in, records out; one folder per database."""
