-- Times are whole milliseconds since 1970 (UTC), progress is whole millionths, JSON is text, kept to the byte.
-- Every key begins with org_id: the same id in two organisations names two things. COLLATE "C" orders texts by
-- their bytes, on every machine alike. Room in the pages (fillfactor) keeps reports from touching indexes.

CREATE TABLE organisations (
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE tokens (
    id TEXT COLLATE "C" PRIMARY KEY,
    sha256 TEXT COLLATE "C" NOT NULL UNIQUE, -- of a token of high entropy, so no salt and no slow hash
    org_id TEXT COLLATE "C" NOT NULL REFERENCES organisations (id),
    scopes TEXT NOT NULL, -- words, separated by a space
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);

CREATE TABLE jobs (
    org_id TEXT COLLATE "C" NOT NULL REFERENCES organisations (id),
    id TEXT COLLATE "C" NOT NULL,
    created_by TEXT NOT NULL,
    title TEXT COLLATE "C",
    type TEXT COLLATE "C",
    scheduler_state TEXT COLLATE "C" NOT NULL,
    priority INTEGER NOT NULL,
    parameters TEXT NOT NULL,
    is_closing BOOLEAN NOT NULL DEFAULT FALSE, -- closed, and some of its tasks are still marked as pending
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL, -- of the job's own fields; job_counters has that of its tasks
    PRIMARY KEY (org_id, id)
);

CREATE INDEX jobs_by_creation ON jobs (org_id, created_at, id);
CREATE INDEX jobs_closing ON jobs (org_id, id) WHERE is_closing;

-- The counters and the status of a job are the sums over its shards, so that writers do not meet in one row.
CREATE TABLE job_counters (
    org_id TEXT COLLATE "C" NOT NULL,
    job_id TEXT COLLATE "C" NOT NULL,
    shard INTEGER NOT NULL,
    pending BIGINT NOT NULL,
    running BIGINT NOT NULL,
    stopped BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    successes BIGINT NOT NULL,
    progress BIGINT NOT NULL, -- millionths over all tasks, a stopped task counts one million
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, job_id, shard),
    FOREIGN KEY (org_id, job_id) REFERENCES jobs (org_id, id)
) WITH (fillfactor = 50);

CREATE TABLE tasks (
    org_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    job_id TEXT COLLATE "C" NOT NULL,
    created_by TEXT NOT NULL,
    title TEXT COLLATE "C",
    type TEXT COLLATE "C" NOT NULL,
    own_priority INTEGER, -- NULL: the job's
    priority INTEGER NOT NULL, -- own_priority, else the job's
    parameters TEXT NOT NULL,
    extra TEXT, -- a JSON object: fields beyond the reference, kept for who sent them
    report_progress BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    current_run_id TEXT COLLATE "C", -- the live run, else the most recent one
    run_status TEXT COLLATE "C" NOT NULL CHECK (run_status IN ('pending', 'running', 'stopped')),
    run_result TEXT,
    run_progress INTEGER,
    job_is_active BOOLEAN NOT NULL, -- its job's scheduler_state is 'active'
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, job_id) REFERENCES jobs (org_id, id)
) WITH (fillfactor = 85);

CREATE INDEX tasks_by_creation ON tasks (org_id, created_at, id);
CREATE INDEX tasks_by_job ON tasks (org_id, job_id, created_at, id);
CREATE INDEX tasks_claimable ON tasks (org_id, priority DESC, created_at, id)
WHERE run_status = 'pending' AND job_is_active;
CREATE INDEX tasks_claimable_by_type ON tasks (org_id, type, priority DESC, created_at, id)
WHERE run_status = 'pending' AND job_is_active;
CREATE INDEX tasks_by_job_and_status ON tasks (org_id, job_id, run_status, created_at, id);
CREATE INDEX tasks_running ON tasks (org_id, created_at, id) WHERE run_status = 'running';

CREATE TABLE runs (
    org_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    task_id TEXT COLLATE "C" NOT NULL,
    job_id TEXT COLLATE "C" NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL, -- the database's, and later than that of every older run of the task
    updated_at BIGINT NOT NULL,
    started_at BIGINT,
    stopped_at BIGINT,
    result_code TEXT,
    result_message TEXT,
    error TEXT,
    progress INTEGER,
    report_progress BOOLEAN NOT NULL,
    pod_id TEXT,
    request_cpus DOUBLE PRECISION,
    limit_cpus DOUBLE PRECISION,
    node_cpus DOUBLE PRECISION,
    request_ram DOUBLE PRECISION,
    limit_ram DOUBLE PRECISION,
    node_ram DOUBLE PRECISION,
    cpu_platform TEXT,
    machine_type TEXT,
    gpu_type TEXT,
    instance_id TEXT,
    zone TEXT,
    preemptible BOOLEAN,
    machine TEXT,
    gpu_time DOUBLE PRECISION,
    cpu_time DOUBLE PRECISION,
    ram_usage DOUBLE PRECISION,
    wall_clock_time DOUBLE PRECISION,
    usage_samples INTEGER NOT NULL DEFAULT 0, -- how many rows of usage_samples it has
    lease_until BIGINT, -- until when it may stay silent; in no index, as every report changes it
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, task_id) REFERENCES tasks (org_id, id)
) WITH (fillfactor = 85);

CREATE UNIQUE INDEX runs_live ON runs (org_id, task_id)
WHERE started_at IS NOT NULL AND stopped_at IS NULL;
CREATE UNIQUE INDEX runs_of_task ON runs (org_id, task_id, created_at);
CREATE INDEX runs_of_job ON runs (org_id, job_id, created_at, id);
CREATE INDEX runs_by_creation ON runs (org_id, created_at, id);

CREATE TABLE results (
    org_id TEXT COLLATE "C" NOT NULL,
    run_id TEXT COLLATE "C" NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (org_id, run_id),
    FOREIGN KEY (org_id, run_id) REFERENCES runs (org_id, id)
);

CREATE TABLE usage_samples (
    org_id TEXT COLLATE "C" NOT NULL,
    run_id TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    cpu_s DOUBLE PRECISION,
    ram_bytes DOUBLE PRECISION,
    gpu_s DOUBLE PRECISION,
    wall_s DOUBLE PRECISION,
    progress INTEGER,
    PRIMARY KEY (org_id, run_id, at),
    FOREIGN KEY (org_id, run_id) REFERENCES runs (org_id, id)
);

-- What an index is good for is known to the planner from statistics, and a new database has none: until its first
-- ANALYZE every index would look like every other, and a report would cost a walk through all runs. So typical rows
-- are made, counted and deleted; the statistics of the columns stay until there are real ones. They say that any
-- organisation may have all rows: that is what makes an index by ids the better one.
ALTER TABLE jobs ALTER COLUMN org_id SET (n_distinct = 1);
ALTER TABLE job_counters ALTER COLUMN org_id SET (n_distinct = 1);
ALTER TABLE tasks ALTER COLUMN org_id SET (n_distinct = 1);
ALTER TABLE runs ALTER COLUMN org_id SET (n_distinct = 1);
ALTER TABLE results ALTER COLUMN org_id SET (n_distinct = 1);
ALTER TABLE usage_samples ALTER COLUMN org_id SET (n_distinct = 1);
INSERT INTO organisations SELECT 'o' || n, 'o' || n, n FROM generate_series(1, 2000) n;
INSERT INTO jobs SELECT 'o' || n, 'j' || n, 'u', NULL, 't', 'active', 0, '{}', n = 1, n, n
FROM generate_series(1, 2000) n;
INSERT INTO job_counters SELECT org_id, id, created_at % 4, 1, 1, 1, 1, 1, 1, created_at FROM jobs;
INSERT INTO tasks SELECT org_id, 't' || n, id, 'u', NULL, 't' || n % 4, NULL, n % 3, '{}', NULL, TRUE, n, n,
    CASE WHEN n % 10 > 0 THEN 'r' || n END,
    CASE n % 10 WHEN 0 THEN 'pending' WHEN 1 THEN 'running' ELSE 'stopped' END, NULL, NULL, TRUE
FROM jobs, LATERAL (SELECT created_at AS n) of;
INSERT INTO runs (org_id, id, task_id, job_id, created_by, created_at, updated_at, started_at, stopped_at,
    result_code, report_progress, lease_until)
SELECT org_id, current_run_id, id, job_id, 'u', created_at, updated_at, created_at,
    CASE WHEN run_status = 'stopped' THEN created_at END, 'Success', TRUE, created_at
FROM tasks WHERE current_run_id IS NOT NULL;
INSERT INTO results SELECT org_id, id, '{}' FROM runs;
INSERT INTO usage_samples SELECT org_id, id, 1, 1, 1, 1, 1, 1 FROM runs;
ANALYZE jobs, job_counters, tasks, runs, results, usage_samples;
TRUNCATE organisations, tokens, jobs, job_counters, tasks, runs, results, usage_samples;
ALTER TABLE jobs ALTER COLUMN org_id RESET (n_distinct);
ALTER TABLE job_counters ALTER COLUMN org_id RESET (n_distinct);
ALTER TABLE tasks ALTER COLUMN org_id RESET (n_distinct);
ALTER TABLE runs ALTER COLUMN org_id RESET (n_distinct);
ALTER TABLE results ALTER COLUMN org_id RESET (n_distinct);
ALTER TABLE usage_samples ALTER COLUMN org_id RESET (n_distinct);
