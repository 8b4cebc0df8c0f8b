"""Which files of a handler are watched."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

import worker
from worker.executor.sources import handler_sources, has_changed


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have modules in `sys.modules` that lie around a handler's file."""
    for name in (
        "own.py", "beside.py", "parts/below.py", ".venv/lib/python3.11/site-packages/lib.py", "gone.py",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        module = ModuleType(path.stem)
        module.__file__ = str(path)
        monkeypatch.setitem(sys.modules, f"sources_{path.stem}", module)
    monkeypatch.setitem(sys.modules, "sources_odd", None)  # as a failed import leaves it
    (tmp_path / "gone.py").unlink()
    return tmp_path


def test_modules_beside_and_below_a_handler_are_watched(loaded: Path) -> None:
    """Its own file first; not the libraries of an environment there, nor what is no file any more."""
    names = [Path(path).relative_to(loaded).as_posix() for path in handler_sources(str(loaded / "own.py"))]
    assert names == ["own.py", "beside.py", "parts/below.py"]


def test_neither_the_interpreter_nor_millhand_is_watched() -> None:
    """A handler's folder may hold everything else below it."""
    top = Path(worker.__file__).parents[1] / "own.py"
    assert not any(path.startswith(str(Path(worker.__file__).parent)) for path in handler_sources(str(top)))
    assert not any("/sre_" in path or path.endswith("/os.py") for path in handler_sources("/own.py"))


def test_a_module_among_the_libraries_is_watched_alone(loaded: Path) -> None:
    """Its neighbours are other people's."""
    own = loaded / ".venv/lib/python3.11/site-packages/lib.py"
    assert [*handler_sources(str(own))] == [str(own)]


def test_a_change_is_seen_and_so_is_an_end(loaded: Path) -> None:
    """Saving without a new content counts too: nobody reads the files for this."""
    sources = handler_sources(str(loaded / "own.py"))
    assert not has_changed(sources)
    assert has_changed({**sources, str(loaded / "own.py"): 1})
    (loaded / "beside.py").unlink()
    assert has_changed(sources)
    assert not has_changed(handler_sources("/no/such/file.py"))
