SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.agents (
    org_id text NOT NULL COLLATE pg_catalog."C",
    id text NOT NULL COLLATE pg_catalog."C",
    seen_at bigint NOT NULL,
    status text NOT NULL,
    machine text NOT NULL,
    handlers text NOT NULL
);
CREATE TABLE public.job_counters (
    org_id text NOT NULL COLLATE pg_catalog."C",
    job_id text NOT NULL COLLATE pg_catalog."C",
    shard integer NOT NULL,
    pending bigint NOT NULL,
    running bigint NOT NULL,
    stopped bigint NOT NULL,
    failures bigint NOT NULL,
    successes bigint NOT NULL,
    progress bigint NOT NULL,
    updated_at bigint NOT NULL
)
WITH (fillfactor='50');
CREATE TABLE public.jobs (
    org_id text NOT NULL COLLATE pg_catalog."C",
    id text NOT NULL COLLATE pg_catalog."C",
    created_by text NOT NULL,
    title text COLLATE pg_catalog."C",
    type text COLLATE pg_catalog."C",
    scheduler_state text NOT NULL COLLATE pg_catalog."C",
    priority integer NOT NULL,
    parameters text NOT NULL,
    is_closing boolean DEFAULT false NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint,
    lagging_since bigint,
    followed_at bigint
);
CREATE TABLE public.organisations (
    id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    created_at bigint NOT NULL
);
CREATE TABLE public.results (
    org_id text NOT NULL COLLATE pg_catalog."C",
    run_id text NOT NULL COLLATE pg_catalog."C",
    body text NOT NULL
);
CREATE TABLE public.runs (
    org_id text NOT NULL COLLATE pg_catalog."C",
    id text NOT NULL COLLATE pg_catalog."C",
    task_id text NOT NULL COLLATE pg_catalog."C",
    job_id text NOT NULL COLLATE pg_catalog."C",
    created_by text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    started_at bigint,
    stopped_at bigint,
    result_code text,
    result_message text,
    error text,
    progress integer,
    report_progress boolean NOT NULL,
    pod_id text,
    request_cpus double precision,
    limit_cpus double precision,
    node_cpus double precision,
    request_ram double precision,
    limit_ram double precision,
    node_ram double precision,
    cpu_platform text,
    machine_type text,
    gpu_type text,
    instance_id text,
    zone text,
    preemptible boolean,
    machine text,
    gpu_time double precision,
    cpu_time double precision,
    ram_usage double precision,
    wall_clock_time double precision,
    usage_samples integer DEFAULT 0 NOT NULL,
    lease_until bigint
)
WITH (fillfactor='85');
CREATE TABLE public.schema_version (
    version integer NOT NULL,
    name text NOT NULL,
    applied_at bigint NOT NULL
);
CREATE TABLE public.tasks (
    org_id text NOT NULL COLLATE pg_catalog."C",
    id text NOT NULL COLLATE pg_catalog."C",
    job_id text NOT NULL COLLATE pg_catalog."C",
    created_by text NOT NULL,
    title text COLLATE pg_catalog."C",
    type text NOT NULL COLLATE pg_catalog."C",
    own_priority integer,
    priority integer NOT NULL,
    parameters text NOT NULL,
    extra text,
    report_progress boolean NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    current_run_id text COLLATE pg_catalog."C",
    run_status text NOT NULL COLLATE pg_catalog."C",
    run_result text,
    run_progress integer,
    job_is_active boolean NOT NULL,
    CONSTRAINT tasks_run_status_check CHECK ((run_status = ANY (ARRAY['pending'::text, 'running'::text, 'stopped'::text])))
)
WITH (fillfactor='85');
CREATE TABLE public.tokens (
    id text NOT NULL COLLATE pg_catalog."C",
    sha256 text NOT NULL COLLATE pg_catalog."C",
    org_id text NOT NULL COLLATE pg_catalog."C",
    scopes text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint,
    name text COLLATE pg_catalog."C",
    last_used_at bigint
);
CREATE TABLE public.usage_samples (
    org_id text NOT NULL COLLATE pg_catalog."C",
    run_id text NOT NULL COLLATE pg_catalog."C",
    at bigint NOT NULL,
    cpu_s double precision,
    ram_bytes double precision,
    gpu_s double precision,
    wall_s double precision,
    progress integer,
    gpu_busy_s double precision,
    gpu_bytes bigint
);
INSERT INTO public.agents VALUES ('org-1', 'agent-1', 1795955832591, '{}', '{"cpus": 1.10}', '{}');
INSERT INTO public.job_counters VALUES ('org-1', 'job-1', 22, 1, 0, 0, 0, 0, 0, 1795955832653);
INSERT INTO public.job_counters VALUES ('org-1', 'job-1', 9, -1, 1, 0, 0, 0, 0, 1795955832677);
INSERT INTO public.job_counters VALUES ('org-1', 'job-1', 11, 0, 1, 0, 0, 0, 0, 1795955832709);
INSERT INTO public.job_counters VALUES ('org-1', 'job-1', 7, 2, 0, 0, 0, 0, 0, 1795955832725);
INSERT INTO public.job_counters VALUES ('org-1', 'job-1', 26, -1, 1, 0, 0, 0, 0, 1795955832728);
INSERT INTO public.job_counters VALUES ('org-1', 'job-1', 20, 1, -2, 1, 0, 1, 1000000, 1795955832793);
INSERT INTO public.jobs VALUES ('org-1', 'job-1', 'me', 'ä', 'noop', 'active', 0, '{"n": 123456789012345678901, "x": 1.10}', false, 1795955832605, 1795955832605, NULL, NULL, NULL);
INSERT INTO public.organisations VALUES ('org-1', 'an organisation', 1795955832553);
INSERT INTO public.results VALUES ('org-1', 'run-stopped', '{"r": 1.10}');
INSERT INTO public.runs VALUES ('org-1', 'run-running', 'running', 'job-1', 'me', 1795955832677, 1795955832677, 5, NULL, NULL, NULL, NULL, NULL, true, 'pod', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{"a": 1}', NULL, 1.5, 1099511627776, NULL, 1, 1795955841677);
INSERT INTO public.runs VALUES ('org-1', 'run-stopped', 'stopped', 'job-1', 'me', 1795955832728, 1795955832749, 5, 9, 'Success', NULL, NULL, NULL, true, 'pod', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{"a": 1}', NULL, 1.5, 1099511627776, NULL, 1, NULL);
INSERT INTO public.runs VALUES ('org-1', 'again', 'requeued', 'job-1', 'me', 1795955832776, 1795955832776, NULL, NULL, NULL, NULL, NULL, NULL, true, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL);
INSERT INTO public.runs VALUES ('org-1', 'run-requeued', 'requeued', 'job-1', 'me', 1795955832709, 1795955832793, 5, 9, 'Failed', NULL, 'drained: bye', NULL, true, 'pod', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{"a": 1}', NULL, 1.5, 1099511627776, NULL, 1, NULL);
INSERT INTO public.schema_version VALUES (1, '0001_initial.sql', 1);
INSERT INTO public.schema_version VALUES (2, '0002_tokens.sql', 1);
INSERT INTO public.schema_version VALUES (3, '0003_agents.sql', 1);
INSERT INTO public.schema_version VALUES (4, '0004_live_runs.sql', 1);
INSERT INTO public.schema_version VALUES (5, '0005_deleted_jobs.sql', 1);
INSERT INTO public.schema_version VALUES (6, '0006_lagging_jobs.sql', 1);
INSERT INTO public.schema_version VALUES (7, '0007_failed_runs.sql', 1);
INSERT INTO public.schema_version VALUES (8, '0008_gpu_samples.sql', 1);
INSERT INTO public.schema_version VALUES (9, '0009_followed_jobs.sql', 1);
INSERT INTO public.tasks VALUES ('org-1', 'pending', 'job-1', 'me', NULL, 'noop', NULL, 0, '{"n": 123456789012345678901, "x": 1.10}', '{"image":"x"}', true, 1795955832621, 1795955832621, NULL, 'pending', NULL, NULL, true);
INSERT INTO public.tasks VALUES ('org-1', 'running', 'job-1', 'me', NULL, 'noop', NULL, 0, '{"n": 123456789012345678901, "x": 1.10}', '{"image":"x"}', true, 1795955832653, 1795955832677, 'run-running', 'running', NULL, NULL, true);
INSERT INTO public.tasks VALUES ('org-1', 'stopped', 'job-1', 'me', NULL, 'noop', NULL, 0, '{"n": 123456789012345678901, "x": 1.10}', '{"image":"x"}', true, 1795955832725, 1795955832749, 'run-stopped', 'stopped', 'Success', NULL, true);
INSERT INTO public.tasks VALUES ('org-1', 'requeued', 'job-1', 'me', NULL, 'noop', NULL, 0, '{"n": 123456789012345678901, "x": 1.10}', '{"image":"x"}', true, 1795955832705, 1795955832793, 'again', 'pending', NULL, NULL, true);
INSERT INTO public.tokens VALUES ('token-1', '5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f', 'org-1', 'full', 1795955832561, NULL, 'hosts', 7);
INSERT INTO public.usage_samples VALUES ('org-1', 'run-running', 1795955832677, 1.5, 1099511627776, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.usage_samples VALUES ('org-1', 'run-requeued', 1795955832709, 1.5, 1099511627776, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.usage_samples VALUES ('org-1', 'run-stopped', 1795955832728, 1.5, 1099511627776, NULL, NULL, NULL, NULL, NULL);
ALTER TABLE ONLY public.agents
    ADD CONSTRAINT agents_pkey PRIMARY KEY (org_id, id);
ALTER TABLE ONLY public.job_counters
    ADD CONSTRAINT job_counters_pkey PRIMARY KEY (org_id, job_id, shard);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (org_id, id);
ALTER TABLE ONLY public.organisations
    ADD CONSTRAINT organisations_name_key UNIQUE (name);
ALTER TABLE ONLY public.organisations
    ADD CONSTRAINT organisations_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.results
    ADD CONSTRAINT results_pkey PRIMARY KEY (org_id, run_id);
ALTER TABLE ONLY public.runs
    ADD CONSTRAINT runs_pkey PRIMARY KEY (org_id, id);
ALTER TABLE ONLY public.schema_version
    ADD CONSTRAINT schema_version_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_pkey PRIMARY KEY (org_id, id);
ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT tokens_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT tokens_sha256_key UNIQUE (sha256);
ALTER TABLE ONLY public.usage_samples
    ADD CONSTRAINT usage_samples_pkey PRIMARY KEY (org_id, run_id, at);
CREATE INDEX agents_by_silence ON public.agents USING btree (seen_at);
CREATE INDEX jobs_by_creation ON public.jobs USING btree (org_id, created_at, id);
CREATE INDEX jobs_closing ON public.jobs USING btree (org_id, id) WHERE is_closing;
CREATE INDEX jobs_lagging ON public.jobs USING btree (org_id, id) WHERE (lagging_since IS NOT NULL);
CREATE INDEX runs_by_creation ON public.runs USING btree (org_id, created_at, id);
CREATE INDEX runs_failed ON public.runs USING btree (org_id, job_id, started_at DESC NULLS LAST, created_at DESC, id DESC) WHERE ((stopped_at IS NOT NULL) AND (COALESCE(result_code, ''::text) <> 'Success'::text) AND (substr(COALESCE(error, ''::text), 1, 8) <> 'requeued'::text));
CREATE UNIQUE INDEX runs_live ON public.runs USING btree (org_id, task_id) WHERE ((started_at IS NOT NULL) AND (stopped_at IS NULL));
CREATE INDEX runs_live_by_creation ON public.runs USING btree (org_id, created_at, id) WHERE ((started_at IS NOT NULL) AND (stopped_at IS NULL));
CREATE INDEX runs_of_job ON public.runs USING btree (org_id, job_id, created_at, id);
CREATE UNIQUE INDEX runs_of_task ON public.runs USING btree (org_id, task_id, created_at);
CREATE INDEX tasks_by_creation ON public.tasks USING btree (org_id, created_at, id);
CREATE INDEX tasks_by_job ON public.tasks USING btree (org_id, job_id, created_at, id);
CREATE INDEX tasks_by_job_and_status ON public.tasks USING btree (org_id, job_id, run_status, created_at, id);
CREATE INDEX tasks_claimable ON public.tasks USING btree (org_id, priority DESC, created_at, id) WHERE ((run_status = 'pending'::text) AND job_is_active);
CREATE INDEX tasks_claimable_by_type ON public.tasks USING btree (org_id, type, priority DESC, created_at, id) WHERE ((run_status = 'pending'::text) AND job_is_active);
CREATE INDEX tasks_running ON public.tasks USING btree (org_id, created_at, id) WHERE (run_status = 'running'::text);
ALTER TABLE ONLY public.agents
    ADD CONSTRAINT agents_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.organisations(id);
ALTER TABLE ONLY public.job_counters
    ADD CONSTRAINT job_counters_org_id_job_id_fkey FOREIGN KEY (org_id, job_id) REFERENCES public.jobs(org_id, id);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.organisations(id);
ALTER TABLE ONLY public.results
    ADD CONSTRAINT results_org_id_run_id_fkey FOREIGN KEY (org_id, run_id) REFERENCES public.runs(org_id, id);
ALTER TABLE ONLY public.runs
    ADD CONSTRAINT runs_org_id_task_id_fkey FOREIGN KEY (org_id, task_id) REFERENCES public.tasks(org_id, id);
ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_org_id_job_id_fkey FOREIGN KEY (org_id, job_id) REFERENCES public.jobs(org_id, id);
ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT tokens_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.organisations(id);
ALTER TABLE ONLY public.usage_samples
    ADD CONSTRAINT usage_samples_org_id_run_id_fkey FOREIGN KEY (org_id, run_id) REFERENCES public.runs(org_id, id);
