"""Raises in its setup."""

from typing import NoReturn

from worker import Context, handler

END = {
    "kind": "handler_error",
    "retryable": True,
    "says": ["the model is not there"],
    "traceback": ["fails_in_setup.py"],
}


def load_model() -> NoReturn:
    """Fail."""
    raise FileNotFoundError("the model is not there")


@handler(setup=load_model)
def fails_in_setup(ctx: Context) -> None:
    """Never run."""
