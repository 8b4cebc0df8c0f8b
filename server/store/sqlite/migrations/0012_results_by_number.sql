-- Results are found by a number that their run holds: the index by the ids of runs, which come in no order, cost a page
-- of its own for each. Runs of older releases have theirs in the table of before, which gets no more.
CREATE TABLE run_results (
    id INTEGER PRIMARY KEY,
    body TEXT NOT NULL
);
ALTER TABLE runs ADD COLUMN results_id INTEGER;
-- When the last report told all that a sample holds: the run's own columns are that sample, and usage_samples has no
-- row of it. NULL where usage_samples has all.
ALTER TABLE runs ADD COLUMN sampled_at INTEGER;
