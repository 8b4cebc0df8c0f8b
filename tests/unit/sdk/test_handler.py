"""The decorator, what it keeps, and what it refuses."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from worker import Context, Fail, Retry, handler
from worker.sdk import HandlerSpec, spec_of
from worker.sdk.testing import make_context


@handler()
def render_frame(ctx: Context, *, size: int = 512) -> dict[str, int]:
    """Render a frame.

    With more to say.
    """
    return {"pixels": size * size}


def test_a_decorated_function_stays_callable(tmp_path: Path) -> None:
    """Authors call their handlers in unit tests as they are."""
    assert render_frame(make_context(tmp_path), size=2) == {"pixels": 4}


def test_the_type_comes_from_the_name_unless_it_is_given() -> None:
    """Underscores are written as dashes; the docstring loses its indentation."""
    spec = spec_of(render_frame)
    assert spec is not None
    assert (spec.type, spec.doc) == ("render-frame", "Render a frame.\n\nWith more to say.")
    assert spec.doc == inspect.cleandoc(render_frame.__doc__ or "")
    given = spec_of(handler("My Type")(lambda ctx: None))
    assert given is not None
    assert given.type == "My Type"


def test_options_are_kept_and_the_spec_is_frozen() -> None:
    """What the decorator was told is what the executor reads."""
    spec = spec_of(handler("x", timeout_s=5, no_progress_s=2, isolation="fresh")(lambda ctx: None))
    assert spec is not None
    assert spec.options() == {
        "timeout_s": 5,
        "no_progress_s": 2,
        "memory_bytes": None,
        "isolation": "fresh",
        "max_result_bytes": 256 * 1024,
        "gpus": None,
        "concurrency": None,
        "retry": None,
    }
    with pytest.raises(AttributeError, match="frozen"):
        spec.type = "y"


def test_what_is_not_decorated_has_no_spec() -> None:
    """Other functions are nobody's handlers."""
    assert spec_of(len) is None
    assert isinstance(spec_of(render_frame), HandlerSpec)


@pytest.mark.parametrize(
    "options",
    [
        {"timeout_s": 0},
        {"timeout_s": float("inf")},
        {"no_progress_s": -1},
        {"memory_bytes": 0},
        {"memory_bytes": 1.5},
        {"memory_bytes": "4GiB"},
        {"isolation": "cold"},
        {"max_result_bytes": 0},
        {"max_result_bytes": 1 << 30},
        {"type": ""},
        {"type": "a\nb"},
        {"type": "x" * 129},
    ],
)
def test_an_option_out_of_its_range_is_refused_at_once(options: dict[str, object]) -> None:
    """The author learns of it at import, not with the first task."""
    with pytest.raises(ValueError, match=next(iter(options))):
        handler(**options)  # type: ignore[arg-type]


def test_a_decorator_without_parentheses_is_refused() -> None:
    """`@handler` alone would silently make the function a type."""
    with pytest.raises(TypeError, match="parentheses"):
        handler(lambda ctx: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["setup", "teardown"])
def test_setup_and_teardown_are_functions(name: str) -> None:
    """`setup=load()` instead of `setup=load` would run at import, in every process."""
    with pytest.raises(TypeError, match=f"{name} is a function, not 'loaded'"):
        handler(**{name: "loaded"})  # type: ignore[arg-type]


def test_a_delay_of_retry_is_a_time() -> None:
    """A negative or endless wait is the author's mistake."""
    assert Retry("busy", after_s=0).after_s == 0
    for after_s in (-1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="after_s"):
            Retry("busy", after_s=after_s)
    assert str(Fail("why")) == "why"


def test_the_public_face_imports_nothing_heavy() -> None:
    """A script that declares a handler pays for no loop, no client, no codec."""
    program = (
        "import sys; from worker import handler, Context, Fail, Retry, Cancelled;"
        "print([m for m in ('asyncio', 'httpx', 'msgspec', 'structlog', 'typing', 'pathlib', 're',"
        " 'urllib.request') if m in sys.modules])"
    )
    # -S: what site imports for other packages is not ours; -I -P: nor is what lies around here
    paths = f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}; "
    told = subprocess.run(
        [sys.executable, "-S", "-I", "-c", paths + program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert told.stdout.strip() == "[]"


def test_an_unknown_name_of_the_face_is_an_attribute_error() -> None:
    """The lazy package behaves as any other."""
    import worker

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        worker.nothing  # noqa: B018
