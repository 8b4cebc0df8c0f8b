"""What `docs/handlers.md` says is what the handlers take and tell."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec import structs

from handlers import models
from handlers.command import PASSED_ON, PASSED_ON_PREFIXES, command
from handlers.container import container
from handlers.mesh_convert import mesh_convert
from handlers.noop import noop
from handlers.programs.parameters import Parameter
from handlers.programs.templates import Kind, Template, read_templates
from handlers.sleep import sleep
from worker.agent.requirements import READERS
from worker.executor.task_limits import READERS as LIMITS
from worker.sdk import spec_of
from worker.sdk.parameters import read_signature
from worker.sdk.testing import ToldContext

PAGE = (Path(__file__).parents[3] / "docs" / "handlers.md").read_text()


def render_webgl() -> Any:
    """Return the handler; its module wants a browser that is there, and does not start it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILLHAND_CHROMIUM", sys.executable)
        return importlib.import_module("handlers.render_webgl").render_webgl


HANDLERS = [noop, sleep, command, container, mesh_convert, render_webgl()]


def section(title: str) -> str:
    """Return the text below a heading."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_cells(table: str) -> list[str]:
    """Return the names in the first column of the first table."""
    rows = re.search(r"((?:^\|.*\n)+)", table, re.MULTILINE)
    assert rows is not None
    return [name for row in rows[1].splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]


@pytest.mark.parametrize("function", HANDLERS, ids=lambda function: str(function.__name__))
def test_the_parameters_are_those_of_the_handler(function: Callable[..., Any]) -> None:
    """All of them, in their order, with their defaults."""
    spec = spec_of(function)
    assert spec is not None
    parameters = read_signature(function).parameters
    assert first_cells(section(spec.type)) == [parameter.name for parameter in parameters]
    for parameter in parameters:
        row = next(row for row in section(spec.type).splitlines() if row.startswith(f"| `{parameter.name}`"))
        assert ("required" in row) is parameter.is_required


def test_the_templates_of_the_page_are_sound_and_every_key_is_described(tmp_path: Path) -> None:
    """What an operator copies can be used; keys and types are all there are, in the order of the page."""
    text = section("command").split("### Templates")[1]
    path = tmp_path / "commands.toml"
    path.write_text(re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[0])
    assert list(read_templates(path)) == ["transcode", "frames"]
    keys, types = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert set(first_cells(keys)) == {field.name for field in structs.fields(Template)}
    kinds = {kind.__struct_config__.tag: kind for kind in get_args(Kind)}
    assert set(first_cells(types)) == set(kinds)
    common = {field.name for field in structs.fields(Parameter)}
    for tag, kind in kinds.items():
        row = next(row for row in types.splitlines() if row.startswith(f"| `{tag}`"))
        assert {f"`{field.name}" for field in structs.fields(kind) if field.name not in common} <= set(
            re.findall(r"`\w+", row)
        )


def test_the_fields_of_a_converted_mesh_are_described(ctx: ToldContext) -> None:
    """All of them, and no others."""
    result = mesh_convert(ctx, input=str(models.folder() / "gear.glb"))
    assert set(first_cells(section("mesh-convert").split("Result:")[1])) == set(result)


def test_the_keys_of_limits_are_described() -> None:
    """All that are read."""
    assert set(first_cells(section("What a task may take"))) == set(LIMITS)


def test_the_handlers_of_the_examples_are_handlers() -> None:
    """Who copies one has something that can be described; only what it loads is missing."""
    blocks = re.findall(r"^```python\n(.*?)^```", section("A handler of your own"), re.MULTILINE | re.DOTALL)
    for block, type_ in zip(blocks, ("depth", "status"), strict=True):
        names: dict[str, Any] = {}
        exec(block, names)  # noqa: S102 - our own page
        specs = [spec for value in names.values() if (spec := spec_of(value)) is not None]
        assert [(spec.type, spec.setup is not None) for spec in specs] == [(type_, True)]
        assert read_signature(specs[0].function).parameters


def test_the_keys_of_requires_are_described() -> None:
    """All that are read."""
    assert set(first_cells(section("What a task requires"))) == set(READERS)


def test_what_a_program_sees_is_described() -> None:
    """Every variable that is passed on."""
    text = section("command")
    assert all(f"`{name}`" in text for name in PASSED_ON)
    assert all(f"`{prefix}*`" in text for prefix in PASSED_ON_PREFIXES)
