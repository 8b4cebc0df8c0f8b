"""The agent: poll, claim, attempt, drain; a task goes straight down."""
