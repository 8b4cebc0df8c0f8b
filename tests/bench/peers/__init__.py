"""Task queues that people know, measured beside us on the same machine, each in its own environment."""
