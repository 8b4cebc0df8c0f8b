"""How costs grow: with slots, agents, tasks that wait, sizes of results, reports of a run."""
