-- What the runs of a job say of their machines, each text once: they are many, and their machines few. The column of a
-- run holds the digest of its text then; older runs keep the text itself there.
CREATE TABLE machines (
    org_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (org_id, job_id, digest),
    FOREIGN KEY (org_id, job_id) REFERENCES jobs (org_id, id)
) WITHOUT ROWID;
