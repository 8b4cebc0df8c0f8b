-- A claim and the end of a run each wrote into pages of indexes that others could serve. What lives now is few at any
-- time, and found by one index each: live runs also by their leases, running tasks also by their jobs.
DROP INDEX runs_leased;
DROP INDEX runs_live_by_creation;
CREATE INDEX runs_live_by_creation ON runs (org_id, created_at, id, lease_until)
WHERE started_at IS NOT NULL AND stopped_at IS NULL;
DROP INDEX tasks_running;
CREATE INDEX tasks_running ON tasks (org_id, created_at, id, job_id) WHERE run_status = 'running';
-- A task that starts left one place of this index for another, and did so again at its end.
DROP INDEX tasks_by_job_and_status;
CREATE INDEX tasks_pending_of_job ON tasks (org_id, job_id, created_at, id) WHERE run_status = 'pending';
CREATE INDEX tasks_stopped_of_job ON tasks (org_id, job_id, created_at, id) WHERE run_status = 'stopped';
