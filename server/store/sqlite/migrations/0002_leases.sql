-- Until when a live run may stay silent; NULL where who claimed it knows no leases. A run that was
-- stopped for its silence keeps it, so that its late result is known for one.
ALTER TABLE runs ADD COLUMN lease_until INTEGER;

CREATE INDEX runs_leased ON runs (lease_until) WHERE lease_until IS NOT NULL AND stopped_at IS NULL;
