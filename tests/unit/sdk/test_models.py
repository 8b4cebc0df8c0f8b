"""Models of pydantic, as parameters and inside of others: the real library."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from typing import Annotated, Any

import pydantic
import pydantic.dataclasses
import pytest

from worker.sdk import Context, Secret
from worker.sdk.errors import InvalidParameters
from worker.sdk.parameters import read_signature


class Key(pydantic.BaseModel):
    """Secrets in every way."""

    token: pydantic.SecretStr
    ours: Secret = "built-in-secret"
    many: list[pydantic.SecretStr] = []
    named: pydantic.SecretStr | None = pydantic.Field(None, alias="byAlias")
    plain: int = 1


class Pin(pydantic.BaseModel):
    """A part that is secret as a whole."""

    pin: int


class Hidden(pydantic.BaseModel):
    """Secrets where they are hard to see."""

    number: pydantic.Secret[int] = pydantic.Secret(424242)
    part: pydantic.Secret[Pin] | None = None
    listed: list[pydantic.Secret[str]] = []
    marked: str = pydantic.Field("", json_schema_extra={"writeOnly": True})
    by_pattern: dict[Annotated[str, pydantic.Field(pattern="^a")], pydantic.SecretStr] = {}
    by_key: dict[pydantic.SecretStr, int] = {}
    inside: pydantic.Json[dict[str, pydantic.SecretStr]] | None = None
    extra: dict[str, Any] = {}


class Tree(pydantic.BaseModel):
    """A model in itself."""

    key: Key | None = None
    branches: list[Tree] = []


class Picky(pydantic.BaseModel):
    """Its own rules."""

    model_config = pydantic.ConfigDict(strict=True, extra="ignore")
    day: date
    low: int = 0
    high: int = 1

    @pydantic.model_validator(mode="after")
    def in_order(self) -> Picky:
        """Compare two fields."""
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


class Open(pydantic.BaseModel):
    """Takes anything."""

    model_config = pydantic.ConfigDict(extra="allow")


class Aliased(pydantic.BaseModel):
    """Other names on the wire."""

    size: int = pydantic.Field(validation_alias=pydantic.AliasChoices("edge", "pixels"))
    by_both: int = pydantic.Field(1, alias="byBoth")
    model_config = pydantic.ConfigDict(populate_by_name=True)


def keyed(ctx: Context, parameters: Key) -> None:
    """Take it whole."""


def hidden(ctx: Context, parameters: Hidden) -> None:
    """Take it whole."""


def tree(ctx: Context, *, top: Tree, keys: list[Key] | None = None) -> None:
    """Take it inside of others."""


def picky(ctx: Context, parameters: Picky) -> None:
    """Take it whole."""


def opened(ctx: Context, params: Open) -> None:
    """Take anything."""


def aliased(ctx: Context, params: Aliased) -> None:
    """Take other names."""


def problems(function: Any, given: dict[str, Any]) -> list[str]:
    """Return what is wrong."""
    with pytest.raises(InvalidParameters) as raised:
        read_signature(function).check(given)
    return raised.value.problems


def test_secrets_of_models_are_known_before_they_are_checked() -> None:
    """`SecretStr`, our `Secret`, in lists, under aliases, deep inside, and under a mistyped name."""
    given = {"token": "aaaaaa", "ours": "bbbbbb", "many": ["cccccc"], "byAlias": "dddddd", "tokem": "eeeeee"}
    expected = {"aaaaaa", "bbbbbb", "cccccc", "dddddd", "eeeeee"}
    assert set(read_signature(keyed).secrets_in(given)) == expected
    deep = {"top": {"branches": [{"key": given}]}, "keys": [{"token": "ffffff"}]}
    assert set(read_signature(tree).secrets_in(deep)) == expected | {"ffffff"}


@pytest.mark.parametrize(
    ("given", "secrets"),
    [
        ({"number": 471147}, {"471147"}),
        ({"number": "not-a-number"}, {"not-a-number"}),
        ({"part": {"pin": 4711}}, {"4711"}),
        ({"listed": ["in-a-list"]}, {"in-a-list"}),
        ({"marked": "by-itself"}, {"by-itself"}),
        ({"by_pattern": {"ab": "fits", "zz": "does-not"}}, {"fits", "does-not"}),
        ({"by_key": {"a-key": 1}}, {"a-key"}),
        ({"inside": '{"a":"in-json"}'}, {"in-json", '{"a":"in-json"}'}),
        ({"inside": '{"a":"half'}, {'{"a":"half'}),
        ({"extra": {"a": "plain"}}, set()),
    ],
)
def test_secrets_are_found_wherever_a_model_has_them(given: dict[str, Any], secrets: set[str]) -> None:
    """`Secret[...]` of any type, what says `writeOnly`, in keys, under patterns, in JSON in a text."""
    assert set(read_signature(hidden).secrets_in(given)) == secrets


def test_no_message_quotes_a_secret_that_is_hard_to_see() -> None:
    """Nor the whole of what was given, as text or base64."""
    told = problems(
        hidden,
        {"number": "hunter2-a", "part": "hunter2-b", "marked": 1, "by_pattern": {"zz": ["hunter2-c"]},
         "inside": '{"a":"hunter2-d', "listed": [["hunter2-e"]], "extra": 5},
    )  # fmt: skip
    assert len(told) >= 7
    assert "hunter2" not in "; ".join(told)
    deep: Any = 0
    for _ in range(500):
        deep = {"a": deep}
    told = problems(hidden, {"marked": "geheim-übung-7", "extra": deep})
    assert len(told) == 1
    assert told[0].startswith("invalid JSON: recursion limit exceeded")
    assert "given" not in told[0]


def test_a_secret_of_any_type_is_described_as_one() -> None:
    """Its default is not."""
    described = read_signature(hidden).schema()["properties"]
    for name in ("number", "marked"):
        assert described[name]["writeOnly"] is True
        assert "default" not in described[name]
    assert described["listed"]["items"]["writeOnly"] is True
    assert "writeOnly" not in described["extra"]


def test_messages_quote_what_is_no_secret() -> None:
    """Pydantic's messages stand in our form; the secrets of the same model are not quoted."""
    told = problems(keyed, {"token": 123456, "many": "sevenletters", "plain": "x", "tokem": "mistyped"})
    assert any(
        one.startswith("plain: input should be a valid integer") and one.endswith('"x")') for one in told
    )
    assert any(one.startswith("token: ") for one in told)
    assert "tokem: unexpected; the handler takes byAlias, many, ours, plain, token" in told
    text = "; ".join(told)
    assert "123456" not in text
    assert "sevenletters" not in text
    assert "mistyped" not in text
    assert problems(tree, {"top": {"key": "misplaced"}, "keys": [{}]}) == [
        "top.key: input should be an object",
        "keys[0].token: missing; the handler requires it",
    ]


def test_a_schema_describes_models_and_shows_no_secret_default() -> None:
    """References lead to what is there, of a model in itself too."""
    for function in (keyed, tree):
        schema = read_signature(function).schema()
        text = str(schema)
        assert "built-in-secret" not in text
        assert "password" in text
        for name in (part.partition("'")[0] for part in text.split("'#/$defs/")[1:]):
            assert name in schema["$defs"]
    assert "default" not in read_signature(keyed).schema()["properties"]["ours"]


def test_a_strict_model_reads_json_as_json() -> None:
    """A date comes as text, and what is a rule of several fields has no path."""
    checked = read_signature(picky).check({"day": "2024-02-29", "unknown": 1})
    assert checked["parameters"].day == date(2024, 2, 29)
    assert problems(picky, {"day": "2024-02-29", "low": 2}) == ["low is above high"]


def test_a_model_may_take_what_it_does_not_know() -> None:
    """Where it says so itself, as with `extra`."""
    assert read_signature(opened).check({"a": 1})["params"].model_dump() == {"a": 1}
    assert read_signature(opened).schema()["additionalProperties"] is True


def test_a_field_may_come_under_each_of_its_names() -> None:
    """As the model says, and under no other."""
    for given in ({"edge": 2, "by_both": 3}, {"pixels": 2, "byBoth": 3}):
        value = read_signature(aliased).check(given)["params"]
        assert (value.size, value.by_both) == (2, 3)


def test_a_pydantic_dataclass_is_refused_with_what_to_do() -> None:
    """Msgspec would read it without its checks."""

    @pydantic.dataclasses.dataclass
    class Checked:
        size: int = pydantic.Field(ge=1)

    def checked(ctx: Context, *, parts: Any) -> None: ...

    checked.__annotations__["parts"] = list[Checked]
    with pytest.raises(TypeError, match=r"parts: Checked is a dataclass of pydantic; make it a BaseModel"):
        read_signature(checked)


def test_pydantic_is_never_imported_by_the_sdk() -> None:
    """Only a handler that has models pays for it."""
    code = (
        "import sys; from worker.sdk.parameters import read_signature\n"
        "def plain(ctx, *, size: int): ...\n"
        "signature = read_signature(plain); signature.check({'size': 1}); signature.schema()\n"
        "print('pydantic' in sys.modules, 'dataclasses' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.split()[0] == "False"
