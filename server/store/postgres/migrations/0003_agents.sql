-- What agents say of themselves: told again and again, so it is no record of anything, and forgotten soon.
CREATE TABLE agents (
    org_id TEXT COLLATE "C" NOT NULL REFERENCES organisations (id),
    id TEXT COLLATE "C" NOT NULL,
    seen_at BIGINT NOT NULL,
    status TEXT NOT NULL, -- JSON objects, as they were sent
    machine TEXT NOT NULL,
    handlers TEXT NOT NULL,
    PRIMARY KEY (org_id, id)
);

CREATE INDEX agents_by_silence ON agents (seen_at);
