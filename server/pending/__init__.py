"""Handing out pending tasks: who waits for them, and to whom they were shown a moment ago."""
