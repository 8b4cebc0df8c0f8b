"""The minder: a small process between the agent and its children, which ends every tree of processes.

It starts the children, so that it is their subreaper and the one who reaps them; it holds their
deadlines and memory limits, so that a stuck agent cannot let a run go on; and when the agent is gone it
ends whatever still runs, and itself. It imports nothing but the standard library, knows neither token
nor server, and serves one agent over one socket (`worker.minder.wire`).
"""
