"""The Jobs API: routes, service, store."""
