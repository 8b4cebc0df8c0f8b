"""The durable record of what was promised and what was not yet told: journal and reporter."""
