"""The bill of a run: against real processes that burn CPU and memory."""
