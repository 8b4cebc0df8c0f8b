"""The wire of the Jobs API: models, one method per request, failure classes, retry policies."""
