"""Statistics of tables, as a handler of millhand."""
