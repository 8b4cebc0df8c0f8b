"""What handler authors import: handler, Context, errors."""
