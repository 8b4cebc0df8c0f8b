"""The folders of runs: made, watched, removed, kept."""
