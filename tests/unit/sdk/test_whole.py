"""One parameter may take all of a task's parameters: a dataclass, Struct, TypedDict or model of pydantic."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
import pydantic
import pytest

from worker.sdk import Context, Secret
from worker.sdk.calling import call_handler
from worker.sdk.errors import InvalidParameters
from worker.sdk.handler import handler
from worker.sdk.parameters import read_signature
from worker.sdk.testing import make_context


@dataclass
class Camera:
    """A part."""

    fov: float
    name: str = "main"


@dataclass
class AsDataclass:
    """What to render.

    Attributes:
        size: pixels of an edge,
            from 1.
    """

    size: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    camera: Camera
    out: Path = Path("a.png")
    tags: list[str] = field(default_factory=list)


class AsStruct(msgspec.Struct):
    """The same as a Struct."""

    size: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    camera: Camera
    out: Path = Path("a.png")
    tags: list[str] = []


class AsDict(TypedDict):
    """The same as a dict."""

    size: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    camera: Camera
    out: NotRequired[Path]
    tags: NotRequired[list[str]]


class ModelOfCamera(pydantic.BaseModel):
    """A part, as a model."""

    fov: float
    name: str = "main"


class AsModel(pydantic.BaseModel):
    """The same as a model."""

    size: int = pydantic.Field(ge=1, le=4096, description="pixels of an edge, from 1.")
    camera: ModelOfCamera
    out: Path = Path("a.png")
    tags: list[str] = []


def by_dataclass(ctx: Context, parameters: AsDataclass) -> None:
    """Take it."""


def by_struct(ctx: Context, params: AsStruct) -> None:
    """Take it."""


def by_dict(ctx: Context, *, parameters: AsDict) -> None:
    """Take it."""


def by_model(ctx: Context, parameters: AsModel) -> None:
    """Take it."""


DOC = "Take it.\n\nArgs:\n    size: pixels of an edge,\n        from 1."
ALL = [by_dataclass, by_struct, by_dict, by_model]


@pytest.mark.parametrize("function", ALL)
def test_the_whole_object_arrives_as_its_class(function: Any) -> None:
    """Converted as a plain argument is: numbers as text, paths, parts; without what is the agent's."""
    given = {"size": "64", "camera": {"fov": 50}, "out": "b.png", "requires": {"cpus": 1}, "limits": None}
    ((name, value),) = read_signature(function).check(given).items()
    assert name in ("parameters", "params")
    get = value.__getitem__ if isinstance(value, dict) else value.__getattribute__
    assert (get("size"), get("camera").fov, get("out")) == (64, 50.0, Path("b.png"))


@pytest.mark.parametrize("function", ALL)
def test_every_problem_is_told_by_its_path(function: Any) -> None:
    """Also those inside of parts, and what no field takes."""
    given = {"size": 0, "camera": {"fov": "wide", "name": 7}, "tags": ["a", 2], "sise": 1}
    with pytest.raises(InvalidParameters) as raised:
        read_signature(function).check(given)
    told = {problem.partition(":")[0]: problem for problem in raised.value.problems}
    assert told.keys() == {"size", "camera.fov", "camera.name", "tags[1]", "sise"}
    assert told["size"].endswith("(given: 0)")
    assert told["camera.fov"].endswith('(given: "wide")')
    assert told["sise"] == "sise: unexpected; the handler takes camera, out, size, tags"
    with pytest.raises(
        InvalidParameters, match=r"camera\.fov: missing; .*size: missing|size: missing; .*fov"
    ):
        read_signature(function).check({"camera": {}})


@pytest.mark.parametrize("function", ALL)
def test_the_schema_is_that_of_the_fields(function: Any) -> None:
    """With bounds, defaults and what the docstrings of handler or class say."""
    schema = read_signature(function).schema("" if function is by_dataclass else DOC)
    size = schema["properties"]["size"]
    assert (size["type"], size["minimum"], size["maximum"]) == ("integer", 1, 4096)
    assert size["description"] == "pixels of an edge, from 1."
    assert sorted(schema["required"]) == ["camera", "size"]
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    (name,) = schema["$defs"]
    assert schema["properties"]["camera"]["$ref"] == f"#/$defs/{name}"
    assert schema["$defs"][name]["required"] == ["fov"]
    msgspec.json.encode(schema)


@dataclass
class WithLimits:
    """A name that is the agent's."""

    limits: int = 1


def others(ctx: Context, parameters: AsDataclass, more: int) -> None:
    """Take more beside all."""


def kwargs(ctx: Context, parameters: AsDataclass, **more: Any) -> None:
    """Take any beside all."""


def with_default(ctx: Context, parameters: AsDataclass = AsDataclass(1, Camera(1))) -> None:  # noqa: B008
    """Take a default that could never be used."""


def with_limits(ctx: Context, parameters: WithLimits) -> None:
    """Take the agent's word."""


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (others, "takes all parameters"),
        (kwargs, "takes all parameters"),
        (with_default, "default"),
        (with_limits, "field `limits` of WithLimits"),
    ],
)
def test_what_could_mean_two_things_is_refused(function: Any, message: str) -> None:
    """The author sees it when the handler is loaded."""
    with pytest.raises(TypeError, match=message):
        read_signature(function)


def test_other_names_and_types_stay_parameters_of_their_own() -> None:
    """A class under another name is one parameter; so is `parameters` that is no class with fields."""

    def named(ctx: Context, camera: Camera) -> None: ...

    def plain(ctx: Context, parameters: dict[str, int]) -> None: ...

    assert read_signature(named).check({"camera": {"fov": 1}}) == {"camera": Camera(1.0)}
    assert read_signature(plain).check({"parameters": {"a": "1"}}) == {"parameters": {"a": 1}}


def test_a_class_that_refuses_itself_says_why() -> None:
    """What `__post_init__` raises is the message, without a path that would be empty."""

    @dataclass
    class Range:
        low: int
        high: int

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low is above high")

    def ranged(ctx: Context, parameters: Any) -> None: ...

    ranged.__annotations__["parameters"] = Range
    with pytest.raises(InvalidParameters, match=r"^low is above high"):
        read_signature(ranged).check({"low": 2, "high": 1})


@dataclass
class Login:
    """With a secret that has a default."""

    user: str
    password: Secret = "built-in-password"
    others: list[Secret] | None = None


def logged_in(ctx: Context, parameters: Login) -> None:
    """Take a secret."""


def test_secrets_of_the_whole_are_known_and_never_shown() -> None:
    """Neither in messages nor as the default of the schema."""
    signature = read_signature(logged_in)
    given = {"user": 5, "password": ["hunter-two"], "others": "hunter-three"}
    assert signature.secrets_in({"user": "u", "password": "hunter-two"}) == ["hunter-two"]
    with pytest.raises(InvalidParameters) as raised:
        signature.check(given)
    assert "hunter" not in str(raised.value)
    assert "built-in" not in str(signature.schema())


def test_a_call_in_a_test_takes_the_whole_too(tmp_path: Path) -> None:
    """As in a run."""

    @handler()
    def render(ctx: Context, parameters: Any) -> dict[str, Any]:
        return {"fov": parameters.camera.fov}

    render.__annotations__["parameters"] = AsStruct
    context = make_context(tmp_path, parameters={"size": 1, "camera": {"fov": 2}})
    assert call_handler(render, context).value == {"fov": 2.0}
