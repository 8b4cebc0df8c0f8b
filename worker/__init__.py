"""millhand, a worker agent for the Jobs API. Handler authors import `handler` and `Context` from here."""
