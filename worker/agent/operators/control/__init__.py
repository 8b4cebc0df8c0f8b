"""Orders to a running agent, by a socket in its state directory: drain, pause, resume, say how it stands."""
