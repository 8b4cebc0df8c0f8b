"""Never comes to the end of its import."""

import time

END = {
    "kind": "timeout",
    "signal": "SIGTERM",
    "says": ["importing the handler", "took longer than 1 s"],
    "weight": 0,
    "limit_s": 15,
}

time.sleep(600)
