"""Holds no handler at all."""

END = {"kind": "handler_error", "retryable": True, "says": ["no handler"]}
