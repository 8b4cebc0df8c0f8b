"""What a transport raises where no answer came, or none that can be read.

    Fault
    ├── Unsendable       the request cannot be sent: nothing of it was
    ├── NotConnected     there is no connection: nothing of the request was sent
    ├── NotHttp          what answered does not speak HTTP, or nothing answered
    └── Cut              the answer's head came; its body was cut, or is not as the head says

None of them quotes an answer. Faults of libraries are translated into these where they are used: httpx's in
`worker.api.over_httpx`. What the system says of a connection stays OSError; a limit is TimeoutError.
"""

from __future__ import annotations

__all__ = ["Cut", "Fault", "NotConnected", "NotHttp", "Unsendable"]


class Fault(Exception):  # noqa: N818 - errors of the API are those of `worker.api.errors`
    """No answer came, or none that can be read; whether the request was seen, nobody knows."""


class Unsendable(Fault):
    """The request cannot be sent as it is."""


class NotConnected(Fault):
    """There is no connection to send it on."""


class NotHttp(Fault):
    """Nothing answered, or something that does not speak HTTP."""


class Cut(Fault):
    """An answer broke off, or its body is not as its head says."""
