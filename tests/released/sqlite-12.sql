BEGIN TRANSACTION;
CREATE TABLE agents (
    org_id TEXT NOT NULL REFERENCES organisations (id),
    id TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    status TEXT NOT NULL, -- JSON objects, as they were sent
    machine TEXT NOT NULL,
    handlers TEXT NOT NULL,
    PRIMARY KEY (org_id, id)
) WITHOUT ROWID;
INSERT INTO "agents" VALUES('org-1','agent-1',1796046839734,'{}','{"cpus": 1.10}','{}');
CREATE TABLE job_counters (
    org_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    shard INTEGER NOT NULL,
    pending INTEGER NOT NULL,
    running INTEGER NOT NULL,
    stopped INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    successes INTEGER NOT NULL,
    progress INTEGER NOT NULL, -- millionths over all tasks, a stopped task counts one million
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (org_id, job_id, shard),
    FOREIGN KEY (org_id, job_id) REFERENCES jobs (org_id, id)
) WITHOUT ROWID;
INSERT INTO "job_counters" VALUES('org-1','job-1',0,2,1,1,0,1,1000000,1796046839882);
CREATE TABLE jobs (
    org_id TEXT NOT NULL REFERENCES organisations (id),
    id TEXT NOT NULL,
    created_by TEXT NOT NULL,
    title TEXT,
    type TEXT,
    scheduler_state TEXT NOT NULL,
    priority INTEGER NOT NULL,
    parameters TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'running', 'stopped')), -- follows job_counters
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL, deleted_at INTEGER, lagging_since INTEGER, -- of the job's own fields; job_counters has that of its tasks
    PRIMARY KEY (org_id, id)
);
INSERT INTO "jobs" VALUES('org-1','job-1','me','ä','noop','active',0,'{"n": 123456789012345678901, "x": 1.10}','running',1796046839741,1796046839741,NULL,NULL);
CREATE TABLE machines (
    org_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (org_id, job_id, digest),
    FOREIGN KEY (org_id, job_id) REFERENCES jobs (org_id, id)
) WITHOUT ROWID;
INSERT INTO "machines" VALUES('org-1','job-1','c23cbf91bd4f8d31056b93a9864f4701','{"os": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}');
CREATE TABLE organisations (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
);
INSERT INTO "organisations" VALUES('org-1','an organisation',1796046839625);
CREATE TABLE results (
    org_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (org_id, run_id),
    FOREIGN KEY (org_id, run_id) REFERENCES runs (org_id, id)
);
CREATE TABLE run_results (
    id INTEGER PRIMARY KEY,
    body TEXT NOT NULL
);
INSERT INTO "run_results" VALUES(1,'{"r": 1.10}');
CREATE TABLE runs (
    org_id TEXT NOT NULL,
    id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL, -- the server's, and later than that of every older run of the task
    updated_at INTEGER NOT NULL,
    started_at INTEGER,
    stopped_at INTEGER,
    result_code TEXT,
    result_message TEXT,
    error TEXT,
    progress INTEGER,
    report_progress INTEGER NOT NULL,
    pod_id TEXT,
    request_cpus, -- columns without a type keep a number as it came: whole or not
    limit_cpus,
    node_cpus,
    request_ram,
    limit_ram,
    node_ram,
    cpu_platform TEXT,
    machine_type TEXT,
    gpu_type TEXT,
    instance_id TEXT,
    zone TEXT,
    preemptible INTEGER,
    machine TEXT,
    gpu_time,
    cpu_time,
    ram_usage,
    wall_clock_time,
    usage_samples INTEGER NOT NULL DEFAULT 0, lease_until INTEGER, results_id INTEGER, sampled_at INTEGER, -- how many rows of usage_samples it has
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, task_id) REFERENCES tasks (org_id, id)
);
INSERT INTO "runs" VALUES('org-1','run-running','running','job-1','me',1796046839782,1796046839782,5,NULL,NULL,NULL,NULL,NULL,1,'pod',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"a": 1}',NULL,1.5,1099511627776,NULL,1,1796046848782,NULL,NULL);
INSERT INTO "runs" VALUES('org-1','run-requeued','requeued','job-1','me',1796046839834,1796046839882,5,9,'Failed',NULL,'drained: bye',NULL,1,'pod',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'c23cbf91bd4f8d31056b93a9864f4701',NULL,1.5,1099511627776,NULL,1,NULL,NULL,NULL);
INSERT INTO "runs" VALUES('org-1','run-stopped','stopped','job-1','me',1796046839861,1796046839871,5,9,'Success',NULL,NULL,NULL,1,'pod',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"a": 1}',NULL,1.5,1099511627776,NULL,1,NULL,1,NULL);
INSERT INTO "runs" VALUES('org-1','again','requeued','job-1','me',1796046839876,1796046839876,NULL,NULL,NULL,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL);
CREATE TABLE schema_version (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL);
INSERT INTO "schema_version" VALUES(1,'0001_initial.sql',1796046839494);
INSERT INTO "schema_version" VALUES(2,'0002_leases.sql',1796046839494);
INSERT INTO "schema_version" VALUES(3,'0003_tokens.sql',1796046839494);
INSERT INTO "schema_version" VALUES(4,'0004_agents.sql',1796046839494);
INSERT INTO "schema_version" VALUES(5,'0005_live_runs.sql',1796046839494);
INSERT INTO "schema_version" VALUES(6,'0006_deleted_jobs.sql',1796046839494);
INSERT INTO "schema_version" VALUES(7,'0007_lagging_jobs.sql',1796046839494);
INSERT INTO "schema_version" VALUES(8,'0008_failed_runs.sql',1796046839494);
INSERT INTO "schema_version" VALUES(9,'0009_gpu_samples.sql',1796046839494);
INSERT INTO "schema_version" VALUES(10,'0010_fewer_index_pages.sql',1796046839494);
INSERT INTO "schema_version" VALUES(11,'0011_machines.sql',1796046839494);
INSERT INTO "schema_version" VALUES(12,'0012_results_by_number.sql',1796046839494);
CREATE TABLE tasks (
    org_id TEXT NOT NULL,
    id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    created_by TEXT NOT NULL,
    title TEXT,
    type TEXT NOT NULL,
    own_priority INTEGER, -- NULL: the job's
    priority INTEGER NOT NULL, -- own_priority, else the job's
    parameters TEXT NOT NULL,
    extra TEXT, -- a JSON object: fields beyond the reference, kept for who sent them
    report_progress INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    current_run_id TEXT, -- the live run, else the most recent one
    run_status TEXT NOT NULL CHECK (run_status IN ('pending', 'running', 'stopped')),
    run_result TEXT,
    run_progress INTEGER,
    job_is_active INTEGER NOT NULL, -- its job's scheduler_state is 'active'
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, job_id) REFERENCES jobs (org_id, id)
);
INSERT INTO "tasks" VALUES('org-1','pending','job-1','me',NULL,'noop',NULL,0,'{"n": 123456789012345678901, "x": 1.10}','{"image":"x"}',1,1796046839748,1796046839748,NULL,'pending',NULL,NULL,1);
INSERT INTO "tasks" VALUES('org-1','running','job-1','me',NULL,'noop',NULL,0,'{"n": 123456789012345678901, "x": 1.10}','{"image":"x"}',1,1796046839773,1796046839782,'run-running','running',NULL,NULL,1);
INSERT INTO "tasks" VALUES('org-1','requeued','job-1','me',NULL,'noop',NULL,0,'{"n": 123456789012345678901, "x": 1.10}','{"image":"x"}',1,1796046839830,1796046839882,'again','pending',NULL,NULL,1);
INSERT INTO "tasks" VALUES('org-1','stopped','job-1','me',NULL,'noop',NULL,0,'{"n": 123456789012345678901, "x": 1.10}','{"image":"x"}',1,1796046839852,1796046839871,'run-stopped','stopped','Success',NULL,1);
CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE, -- of a token of high entropy, so no salt and no slow hash
    org_id TEXT NOT NULL REFERENCES organisations (id),
    scopes TEXT NOT NULL, -- words, separated by a space
    created_at INTEGER NOT NULL,
    expires_at INTEGER
, name TEXT, last_used_at INTEGER);
INSERT INTO "tokens" VALUES('token-1','5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f','org-1','full',1796046839675,NULL,'hosts',7);
CREATE TABLE usage_samples (
    org_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    cpu_s REAL,
    ram_bytes INTEGER,
    gpu_s REAL,
    wall_s REAL,
    progress INTEGER, gpu_busy_s REAL, gpu_bytes INTEGER,
    PRIMARY KEY (org_id, run_id, at),
    FOREIGN KEY (org_id, run_id) REFERENCES runs (org_id, id)
) WITHOUT ROWID;
INSERT INTO "usage_samples" VALUES('org-1','run-requeued',1796046839834,1.5,1099511627776,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "usage_samples" VALUES('org-1','run-running',1796046839782,1.5,1099511627776,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "usage_samples" VALUES('org-1','run-stopped',1796046839861,1.5,1099511627776,NULL,NULL,NULL,NULL,NULL);
CREATE INDEX jobs_by_creation ON jobs (org_id, created_at, id);
CREATE INDEX jobs_by_status ON jobs (org_id, status, created_at, id);
CREATE INDEX tasks_by_creation ON tasks (org_id, created_at, id);
CREATE INDEX tasks_by_job ON tasks (org_id, job_id, created_at, id);
CREATE INDEX tasks_claimable ON tasks (org_id, priority DESC, created_at, id)
WHERE run_status = 'pending' AND job_is_active = 1;
CREATE INDEX tasks_claimable_by_type ON tasks (org_id, type, priority DESC, created_at, id)
WHERE run_status = 'pending' AND job_is_active = 1;
CREATE UNIQUE INDEX runs_live ON runs (org_id, task_id)
WHERE started_at IS NOT NULL AND stopped_at IS NULL;
CREATE UNIQUE INDEX runs_of_task ON runs (org_id, task_id, created_at);
CREATE INDEX runs_of_job ON runs (org_id, job_id, created_at, id);
CREATE INDEX runs_by_creation ON runs (org_id, created_at, id);
CREATE INDEX agents_by_silence ON agents (seen_at);
CREATE INDEX jobs_lagging ON jobs (org_id, id) WHERE lagging_since IS NOT NULL;
CREATE INDEX runs_failed ON runs (org_id, job_id, started_at DESC, created_at DESC, id DESC)
WHERE stopped_at IS NOT NULL AND coalesce(result_code, '') <> 'Success' AND substr(coalesce(error, ''), 1, 8) <> 'requeued';
CREATE INDEX runs_live_by_creation ON runs (org_id, created_at, id, lease_until)
WHERE started_at IS NOT NULL AND stopped_at IS NULL;
CREATE INDEX tasks_running ON tasks (org_id, created_at, id, job_id) WHERE run_status = 'running';
CREATE INDEX tasks_pending_of_job ON tasks (org_id, job_id, created_at, id) WHERE run_status = 'pending';
CREATE INDEX tasks_stopped_of_job ON tasks (org_id, job_id, created_at, id) WHERE run_status = 'stopped';
COMMIT;
