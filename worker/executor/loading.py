"""Import a handler in the child: from a module, or from a file that is no module."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Final

from worker.sdk.errors import Unavailable
from worker.sdk.handler import HandlerSpec, spec_of

__all__ = [
    "LoadError",
    "author_text",
    "author_traceback",
    "handlers_of",
    "load_handler",
    "load_module",
    "split_target",
]

MAX_MESSAGE_CHARS: Final = 4096
MAX_TRACEBACK_CHARS: Final = 16 * 1024
OUR_FOLDERS: Final = tuple(str(Path(__file__).parent.parent / name) + "/" for name in ("executor", "sdk"))


class LoadError(Exception):
    """A handler could not be had from its target.

    `traceback` is its author's, if code of theirs ran; `missing` is the package that an import did not find;
    `is_unavailable` says that nothing is broken, only this machine lacks something.
    """

    def __init__(
        self,
        message: str,
        traceback: str | None = None,
        missing: str | None = None,
        *,
        is_unavailable: bool = False,
    ) -> None:
        super().__init__(sendable(message, MAX_MESSAGE_CHARS))
        self.missing = missing
        self.is_unavailable = is_unavailable
        self.traceback = None if traceback is None else sendable(traceback, 2 * MAX_TRACEBACK_CHARS)


def load_handler(type_: str, target: str) -> HandlerSpec:
    """Return the handler of a type from ``module:attribute`` or ``/path/file.py[:attribute]``.

    Raises:
        LoadError: the import failed, or there is no handler of that type.
    """
    where, attribute = split_target(target)
    module = load_module(where)
    if attribute is None:
        return one_of_type(type_, handlers_of(module), where)
    value: object = module
    for name in attribute.split("."):
        try:
            value = getattr(value, name)
        except AttributeError as exc:
            raise LoadError(f"{where} has no {attribute!r}") from exc
    if (spec := spec_of(value)) is None:
        raise LoadError(f"{target} is not decorated with @handler")
    return spec


def one_of_type(type_: str, specs: list[HandlerSpec], where: str) -> HandlerSpec:
    """Return the handler of a type among those of a module; the last one wins, as in Python."""
    found = [spec for spec in specs if spec.type == type_]
    if not found:
        others = ", ".join(sorted(spec.type for spec in specs)) or "no handler at all"
        raise LoadError(f"{where} has no handler of type {type_!r}; it has {others}")
    return found[-1]


def load_module(where: str) -> ModuleType:
    """Import a module by its name, or a ``.py`` file by its path.

    A file's folder goes to the *end* of the import path: files beside it can be imported, and never
    stand in the way of an installed package.

    Raises:
        LoadError: with the author's traceback.
    """
    try:
        return load_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except LoadError:
        raise
    except Unavailable as exc:
        raise LoadError(author_text(exc), is_unavailable=True) from exc
    except BaseException as exc:  # a module may also call sys.exit
        message = f"{where} could not be imported: {type(exc).__name__}: {author_text(exc)}"
        raise LoadError(message, author_traceback(exc), missing_package(exc)) from exc


def missing_package(exc: BaseException) -> str | None:
    """Return the module at the top that an import did not find; None where it found it, or else failed."""
    if not isinstance(exc, ModuleNotFoundError) or not exc.name:
        return None
    return sendable(exc.name.partition(".")[0], MAX_MESSAGE_CHARS)


class FromSource(SourceFileLoader):
    """Compiles a file each time: bytecode of one second ago and of the same size passes for that of now."""

    def path_stats(self, path: str) -> Mapping[str, Any]:
        """Say that nothing is known by which kept bytecode could be told to be of this source."""
        raise OSError(f"{path} is compiled anew")


def load_file(path: Path) -> ModuleType:
    """Import a file under a name that no installed module has."""
    if not path.is_file():
        raise LoadError(f"{path} does not exist")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    name = f"millhand_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=FromSource(name, str(path)))
    if spec is None or spec.loader is None:
        raise LoadError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickle and dataclasses look modules up by name
    spec.loader.exec_module(module)
    return module


def handlers_of(module: ModuleType) -> list[HandlerSpec]:
    """Return the handlers of a module, or of a package and its modules; not those of other people."""
    found = {
        id(spec): spec
        for value in list(vars(module).values())
        if (spec := spec_of(value)) is not None and is_of(module.__name__, spec.function.__module__)
    }
    return list(found.values())


def is_of(package: str, module: str) -> bool:
    """Tell whether a module is the package, or below it."""
    return module == package or module.startswith(f"{package}.")


def split_target(target: str) -> tuple[str, str | None]:
    """Return module or path, and the attribute or None."""
    where, colon, attribute = target.rpartition(":")
    return (where, attribute) if colon and where and "/" not in attribute else (target, None)


def sendable(text: str, max_chars: int) -> str:
    """Return text that JSON can carry, cut to a bound."""
    if len(text) > max_chars:
        text = text[: max_chars - 1] + "…"
    return text.encode("utf-8", "backslashreplace").decode()


def author_text(exc: BaseException) -> str:
    """Return what an exception says; its class may have made that impossible."""
    try:
        return str(exc)
    except BaseException as failure:  # noqa: BLE001 - it is the author's code, too
        return f"(its text cannot be had: __str__ raised {type(failure).__name__})"


def author_traceback(exc: BaseException) -> str:
    """Return a traceback of the author's code: without frames of ours, without locals, bounded."""
    shown = traceback.TracebackException(type(exc), exc, below_ours(exc.__traceback__), compact=True)
    leave_ours_out(shown)
    text = "".join(shown.format()).rstrip()
    if len(text) <= MAX_TRACEBACK_CHARS:
        return text
    half = MAX_TRACEBACK_CHARS // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def below_ours(frames: TracebackType | None) -> TracebackType | None:
    """Skip the frames of ours, of importlib and of asyncio's runner that led to the author's code."""
    while frames is not None and is_ours(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    return frames


def leave_ours_out(shown: traceback.TracebackException) -> None:
    """Take out what the author's code called of ours, also in what it raised that from, a long chain too."""
    left = [shown]
    while left:
        one = left.pop()
        kept = [frame for frame in one.stack if not frame.filename.startswith(OUR_FOLDERS)]
        one.stack = traceback.StackSummary.from_list(kept)
        others = (one.__cause__, one.__context__, *(getattr(one, "exceptions", None) or ()))
        left += [other for other in others if other is not None]


def is_ours(filename: str) -> bool:
    """Tell whether code is part of what calls handlers."""
    return (
        filename.startswith((*OUR_FOLDERS, "<frozen importlib"))
        or "/asyncio/" in filename
        or ("/importlib/" in filename)
    )
