"""Child processes that run handlers: channel, start, watch, stop, and how a run ended."""
