-- The runs of a job that failed, found among any number that did not; those that never started come last.
CREATE INDEX runs_failed ON runs (org_id, job_id, started_at DESC NULLS LAST, created_at DESC, id DESC)
WHERE stopped_at IS NOT NULL AND coalesce(result_code, '') <> 'Success' AND substr(coalesce(error, ''), 1, 8) <> 'requeued';
