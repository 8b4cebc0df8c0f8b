"""Parameters that must not be shown: annotated, described, told before anything else."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import msgspec
import pytest

from worker import Context, Secret
from worker.sdk.parameters import read_signature
from worker.sdk.testing import make_context


class Login(msgspec.Struct):
    """A user with a password, and whom they stand in for."""

    user: str
    password: Secret = msgspec.field(name="passWord")
    deputy: "Login | None" = None


@dataclass
class Key:
    """The same as a dataclass."""

    name: str
    value: Secret


class Pair(TypedDict):
    """The same as a dict."""

    name: str
    value: Secret


def handled(
    ctx: Context,
    *,
    plain: str = "p",
    token: Secret = "default",  # noqa: S107 - made up
    maybe: Secret | None = None,
    many: list[Secret] | None = None,
    by_name: dict[str, Secret] | None = None,
    login: Login | None = None,
    key: Key | None = None,
    pair: Pair | None = None,
    two: tuple[str, Secret] | None = None,
) -> None:
    """Take secrets in every way."""


@pytest.mark.parametrize(
    ("given", "secrets"),
    [
        ({"plain": "a"}, []),
        ({"token": "a"}, ["a"]),
        ({"maybe": None}, []),
        ({"maybe": "a"}, ["a"]),
        ({"many": ["a", "b"]}, ["a", "b"]),
        ({"by_name": {"k": "a"}}, ["a"]),
        ({"login": {"user": "u", "passWord": "a", "deputy": {"user": "v", "passWord": "b"}}}, ["a", "b"]),
        ({"key": {"name": "n", "value": "a"}, "pair": {"name": "n", "value": "b"}}, ["a", "b"]),
        ({"token": 123456}, ["123456"]),
        ({"token": ["a", {"k": "b"}, None, True]}, ["a", "b"]),
        ({"many": "a", "login": "u", "by_name": ["a"], "other": "a"}, []),
    ],
)
def test_secrets_are_found_by_the_annotations(given: dict[str, Any], secrets: list[str]) -> None:
    """Wherever they are inside, and also in what does not fit the type."""
    assert read_signature(handled).secrets_in(given) == secrets


def test_a_handler_is_known_to_take_secrets_wherever_they_may_be() -> None:
    """Runs of one that takes none are not searched for any, which takes longer than most of them."""

    def taking(type_: Any, *, is_whole: bool = False) -> bool:
        def handled_one(ctx: Context, *, it: Any) -> None: ...

        def handled_whole(ctx: Context, *, params: Any) -> None: ...

        one: Callable[..., Any] = handled_whole if is_whole else handled_one
        one.__annotations__["params" if is_whole else "it"] = type_
        return read_signature(one).takes_secrets

    inside = (Secret, Secret | None, list[Secret], dict[str, Secret], dict[Secret, int], tuple[str, Secret])
    assert all(map(taking, (*inside, Login, Key, Pair, list[Login])))
    assert taking(Login, is_whole=True)
    assert not any(map(taking, (str, Any, int | None, list[str], dict[str, Any])))


def test_the_schema_says_which_are_secret_and_shows_no_default() -> None:
    """Forms then show dots, and clients do not read them back (OpenAPI)."""
    schema = read_signature(handled).schema()
    assert schema["properties"]["token"] == {"type": "string", "format": "password", "writeOnly": True}
    assert schema["properties"]["plain"] == {"type": "string", "default": "p"}
    assert schema["$defs"]["Login"]["properties"]["passWord"]["writeOnly"] is True


def test_a_secret_of_the_wrong_type_is_not_quoted() -> None:
    """Other parameters are, so that the mistake is seen."""
    with pytest.raises(
        Exception, match=r"^plain: expected `str`, got `int` \(given: 5\); token: expected"
    ) as caught:
        read_signature(handled).check({"plain": 5, "token": 123456})
    assert "123456" not in str(caught.value)


def test_a_handler_gets_a_plain_text() -> None:
    """What marks it is the annotation, not the value."""
    assert type(read_signature(handled).check({"token": "a"})["token"]) is str


def test_a_handler_names_secrets_of_its_own(tmp_path: Path) -> None:
    """What it reads from a vault, say; what is no text or too long is refused."""
    ctx = make_context(tmp_path)
    assert ctx.secret("found-in-a-vault") == "found-in-a-vault"
    assert ctx.told.secrets == ["found-in-a-vault"]
    with pytest.raises(ValueError, match="at most 16384"):
        ctx.secret("x" * 16_385)
    with pytest.raises(TypeError, match="a secret is a str, not a bytes"):
        ctx.secret(b"x")  # type: ignore[arg-type]
    assert len(ctx.told.secrets) == 1
