"""Journal and reporter."""
