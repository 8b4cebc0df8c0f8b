"""A second Jobs API, by somebody else: only what the reference documents, and sometimes less.

It shares no line with our server, so that a client that works on both reads the reference and not
our habits. It knows no leases, no long poll, no headers of ours, and lets a task have many live runs.
"""

from tests.foreign.server import ForeignServer, foreign_server
from tests.foreign.switches import Switches

__all__ = ["ForeignServer", "Switches", "foreign_server"]
