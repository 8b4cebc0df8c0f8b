-- When somebody last brought some tasks of a lagging job in line: who is at it lives, and nobody else need begin.
ALTER TABLE jobs ADD COLUMN followed_at BIGINT;
