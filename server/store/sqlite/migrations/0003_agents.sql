-- What agents say of themselves: told again and again, so it is no record of anything, and forgotten soon.
CREATE TABLE agents (
    org_id TEXT NOT NULL REFERENCES organisations (id),
    id TEXT NOT NULL,
    body TEXT NOT NULL, -- a JSON object, as it was sent
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (org_id, id)
) WITHOUT ROWID;

CREATE INDEX agents_by_silence ON agents (seen_at);
