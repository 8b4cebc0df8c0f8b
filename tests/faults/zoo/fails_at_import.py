"""Cannot be imported: a module is missing."""

END = {
    "kind": "handler_error",
    "retryable": True,
    "says": ["could not be imported", "no_such_module_anywhere"],
    "traceback": ["fails_at_import.py"],
}

import no_such_module_anywhere  # type: ignore[import-not-found]  # noqa: E402, F401 - the mistake
