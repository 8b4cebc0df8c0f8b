"""The built-in handlers; each imports only `worker.sdk` and its own libraries, and is also an example."""
