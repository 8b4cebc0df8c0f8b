-- What an operator knows a token by, and when it was last used, to a minute.
ALTER TABLE tokens ADD COLUMN name TEXT COLLATE "C";
ALTER TABLE tokens ADD COLUMN last_used_at BIGINT;
