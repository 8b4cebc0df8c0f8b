"""The files of runs: the spool where they wait, and the stores where people get them."""
