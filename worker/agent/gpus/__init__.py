"""The GPUs that the agent hands out: which run has which, their health, those in quarantine."""
