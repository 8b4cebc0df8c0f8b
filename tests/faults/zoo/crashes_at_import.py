"""Dies while it is imported, as a broken native library does."""

import os

END = {"kind": "crashed", "signal": "SIGABRT", "retryable": True}

os.abort()
