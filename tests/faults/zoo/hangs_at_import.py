"""Never comes to the end of its import."""

import time

END = {
    "kind": "timeout",
    "signal": "SIGTERM",
    "says": ["importing the handler", "took longer than 1 s"],
    "world": "short imports",
    "weight": 0,
}

time.sleep(600)
