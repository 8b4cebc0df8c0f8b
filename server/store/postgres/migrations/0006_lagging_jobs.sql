-- Since when some tasks of a job may not show its state or its priority yet: they follow in parts. Each change that
-- leaves some to do sets it anew, so that whoever follows an older one sees it. is_closing says beside it that the
-- job is not active, so that lists leave its tasks out.
ALTER TABLE jobs ADD COLUMN lagging_since BIGINT;
CREATE INDEX jobs_lagging ON jobs (org_id, id) WHERE lagging_since IS NOT NULL;
UPDATE jobs SET lagging_since = 1 WHERE is_closing;
