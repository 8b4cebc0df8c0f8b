"""Which machine may serve which task."""
