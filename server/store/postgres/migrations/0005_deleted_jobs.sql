-- Since when a finished job is being deleted, part after part; nobody sees it from then on.
ALTER TABLE jobs ADD COLUMN deleted_at BIGINT;
