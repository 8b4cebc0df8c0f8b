"""`millhand token`: who may use a server of ours, and for what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from worker.cli.command import command as make_command
from worker.cli.exits import CliError, ExitCode
from worker.cli.group import MillGroup
from worker.cli.serve import db_of
from worker.cli.server_settings import SERVER_SETTINGS
from worker.cli.setting import with_settings
from worker.cli.terminal import Output, output_options, text_output_options
from worker.cli.values import TIME_LIMIT

if TYPE_CHECKING:
    from rich.table import Table

    from server.operator import Operator
    from server.store.records import TokenRecord

__all__ = ["command"]

T = TypeVar("T")

DB: Final = tuple(setting for setting in SERVER_SETTINGS if setting.name in {"server_db", "server_db_file"})
DEFAULT_ORG: Final = "default"  # as server.tokens.DEFAULT_ORG_NAME, which is not loaded for the help
SCOPES: Final = ("read", "submit", "work", "admin")
db_setting = with_settings("Server", DB, dict, "server")

command = MillGroup(
    "token",
    first="list",
    help="""Tokens of a server of ours: make, list, revoke. Without a verb it lists.

    It works on the database itself, whether a server runs or not: a file on the server's machine, or
    PostgreSQL. A new token is valid at once; one that is revoked is refused within five seconds.

    \b
    read     look at jobs, tasks, runs and reports; every other scope may do this, too
    submit   make and change jobs and tasks
    work     claim tasks and report on runs: what an agent needs
    admin    everything
    """,
    examples="""
millhand token create --scope work --name gpu-hosts > /etc/millhand/token
millhand token create --scope submit --name ada --expires 90d
millhand token create --org films --scope admin
millhand token list
millhand token revoke gpu-hosts
millhand token list --db postgresql://millhand@db.example.com/millhand
""",
)


@make_command(
    "create",
    examples="""
(umask 077; millhand token create --scope work --name gpu-hosts > token)
millhand token create --scope submit --expires 90d --name ada --json
""",
)
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES),
    help="What it may do; several times for several.",
)  # fmt: skip
@click.option("--name", metavar="NAME", help="What you know it by; no two of an organisation share one.")
@click.option(
    "--org", "organisation", default=DEFAULT_ORG, show_default=True, metavar="NAME",
    help="Its organisation, which is made if there is none of that name.",
)  # fmt: skip
@click.option(
    "--expires", "lives_s", type=TIME_LIMIT, metavar="TIME", show_default="never",
    help="How long it is valid, like 90d.",
)  # fmt: skip
@text_output_options
@db_setting
def create(
    *,
    scopes: tuple[str, ...],
    name: str | None,
    organisation: str,
    lives_s: float | None,
    out: Output,
    server: Mapping[str, Any],
) -> int:
    """Make a token and write it to stdout, this once: only its hash is kept."""
    check_word("--name", name)
    check_word("--org", organisation)
    operator = operator_of(server)
    known = told(operator.tokens) if told(operator.has_database) else []
    if name is not None and any((one.name, one.organisation) == (name, organisation) for one in known):
        raise CliError(
            f"organisation {organisation} has a token {name!r} already",
            "choose another --name, or revoke that one first",
            code=ExitCode.REFUSED,
        )
    made = told(lambda: operator.create(organisation, frozenset(scopes), name, lives_s))
    if out.is_json:
        out.json({**as_json(made.record), "token": made.token})
        return 0
    click.echo(made.token)
    out.say(
        f"token {made.record.id} of organisation {organisation} may {', '.join(made.record.scopes)};"
        f" expires: {shown_time(made.record.expires_at, 'never')}. It is not shown again"
    )
    return 0


@make_command("list", examples="\nmillhand token list\nmillhand token list --json | jq -r '.tokens[].id'\n")
@output_options
@db_setting
def list_tokens(*, out: Output, server: Mapping[str, Any]) -> int:
    """List all tokens, with their scopes and their last use; never the tokens themselves."""
    tokens = told(operator_of(server).tokens)
    if out.is_json:
        out.json({"tokens": [as_json(one) for one in tokens]})
    elif tokens:
        out.table(tokens_table(tokens))
    else:
        out.say("there is no token; make one: millhand token create --scope work")
    return 0


@make_command("revoke", examples="\nmillhand token revoke gpu-hosts\n")
@click.argument("token", metavar="ID|NAME")
@output_options
@db_setting
def revoke(*, token: str, out: Output, server: Mapping[str, Any]) -> int:
    """Make a token invalid, for good; a server that runs refuses it within five seconds."""
    from server.tokens import SERVER_TOKEN_ID

    operator = operator_of(server)
    found = [one for one in told(operator.tokens) if token in (one.id, one.name)]
    if len(found) != 1:
        ids = ", ".join(f"{one.id} ({one.organisation})" for one in found)
        raise CliError(
            f"{len(found)} tokens are named {token!r}: {ids}" if found else f"there is no token {token!r}",
            "name one by its id" if found else "see: millhand token list",
            code=ExitCode.REFUSED,
        )
    told(lambda: operator.revoke(found[0].id))
    if found[0].id == SERVER_TOKEN_ID:
        out.note("the server's own settings give this token: a start with the same one makes it valid again")
    if out.is_json:
        out.json({"revoked": as_json(found[0])})
    else:
        out.say(f"token {found[0].id} is revoked; a running server refuses it within five seconds")
    return 0


def operator_of(server: Mapping[str, Any]) -> Operator:
    """Return what works on the database that the settings name."""
    try:
        from server.operator import Operator
    except ImportError as exc:
        raise CliError(
            f"the server cannot be loaded: {exc}",
            "pip install 'millhand[server]'",
            code=ExitCode.CONFIGURATION,
        ) from exc
    return Operator(db_of(server))


def told(work: Callable[[], T]) -> T:
    """Do something with the database; tell a person what is wrong with it."""
    from server.store.refusal import DatabaseError, DatabaseUnreachable

    try:
        return work()
    except DatabaseUnreachable as exc:
        raise CliError(str(exc), "is it running, and may this user log in?", code=ExitCode.FAILED) from exc
    except DatabaseError as exc:
        raise CliError(
            str(exc), "name the server's database: --db or MILLHAND_SERVER_DB", code=ExitCode.CONFIGURATION
        ) from exc


def check_word(option: str, word: str | None) -> None:
    """Raise CliError for a name that a line of a log could not hold."""
    if word is not None and not (word.strip() and word.isprintable() and len(word) <= 100):
        raise CliError(
            f"{option} {word!r} is no name", "give 1 to 100 printable characters", code=ExitCode.USAGE
        )


def as_json(record: TokenRecord) -> dict[str, Any]:
    """Return a token as programs see it."""
    return {
        "id": record.id,
        "name": record.name,
        "organisation": record.organisation,
        "orgId": record.org_id,
        "scopes": record.scopes,
        "createdAt": time_of(record.created_at),
        "expiresAt": time_of(record.expires_at),
        "lastUsedAt": time_of(record.last_used_at),
    }


def time_of(at_ms: int | None) -> datetime | None:
    """Return a stored time."""
    return None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC)


def shown_time(at_ms: int | None, none: str) -> str:
    """Return a time for people, to the minute."""
    at = time_of(at_ms)
    return none if at is None else f"{at:%Y-%m-%d %H:%M}Z"


def tokens_table(tokens: list[TokenRecord]) -> Table:
    """Return tokens, one a row."""
    from rich.text import Text

    from worker.cli.view import table

    made = table("id", "name", "organisation", "scopes", "created", "expires", "last used", whole=("id",))
    for one in tokens:
        made.add_row(
            one.id, Text(one.name or "–"), Text(one.organisation), " ".join(one.scopes),
            shown_time(one.created_at, "–"), shown_time(one.expires_at, "never"),
            shown_time(one.last_used_at, "not yet"),
        )  # fmt: skip
    return made


for verb in (list_tokens, create, revoke):
    command.add_command(verb)
