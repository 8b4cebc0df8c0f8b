"""Unit tests of the page for people who run the agent."""
