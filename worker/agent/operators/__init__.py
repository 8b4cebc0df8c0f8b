"""What people who run the agent look at: the page with status, health and metrics."""
