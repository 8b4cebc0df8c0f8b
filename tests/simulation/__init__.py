"""Whole agents, unchanged, in virtual time: deterministic, seeded, thousands of histories a minute."""
