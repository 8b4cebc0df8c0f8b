-- What GPUs a run used, beside those that it was given: seconds in which they were busy, and the peak of their memory.
ALTER TABLE usage_samples ADD COLUMN gpu_busy_s DOUBLE PRECISION;
ALTER TABLE usage_samples ADD COLUMN gpu_bytes BIGINT;
