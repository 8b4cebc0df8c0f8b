"""Safeguards that a history in virtual time does not see, each with the tests that miss it."""
