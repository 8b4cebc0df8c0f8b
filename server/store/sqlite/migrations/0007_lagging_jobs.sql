-- Since when some tasks of a job may not show its state or its priority yet: they follow in parts. Each change that
-- leaves some to do sets it anew, so that whoever follows an older one sees it.
ALTER TABLE jobs ADD COLUMN lagging_since INTEGER;
CREATE INDEX jobs_lagging ON jobs (org_id, id) WHERE lagging_since IS NOT NULL;
UPDATE jobs SET lagging_since = 1 WHERE scheduler_state IN ('cancelled', 'canceled', 'stopped') AND EXISTS (
    SELECT 1 FROM tasks t WHERE t.org_id = jobs.org_id AND t.job_id = jobs.id AND t.run_status = 'pending');
