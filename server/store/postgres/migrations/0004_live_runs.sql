-- The runs that live now, found among any number that have stopped.
CREATE INDEX runs_live_by_creation ON runs (org_id, created_at, id)
WHERE started_at IS NOT NULL AND stopped_at IS NULL;
