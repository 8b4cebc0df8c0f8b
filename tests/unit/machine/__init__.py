"""The facts of a machine: on recorded machines, and on this one."""
