"""`millhand serve`: the Jobs API."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import click
import msgspec

from worker.cli import paths
from worker.cli.command import command as make_command
from worker.cli.exits import CliError, ExitCode
from worker.cli.server_settings import SERVER_SETTINGS, server_settings
from worker.cli.terminal import Output, output_options

if TYPE_CHECKING:
    from server.http.peers import Network
    from server.prices import Prices
    from server.store.choice import DatabaseOptions
    from server.tls import Certificate

__all__ = ["command"]


@make_command(
    "serve",
    logs=True,
    examples="""
MILLHAND_SERVER_TOKEN_FILE=token millhand serve              # http://127.0.0.1:8077, SQLite
millhand serve --db sqlite:////var/lib/millhand/jobs.db --host 0.0.0.0 --tls-cert mill.pem --tls-key mill.key
millhand serve --db postgresql://millhand@db.example.com/millhand
millhand serve --prices prices.toml                              # reports in money
millhand serve --keep-jobs-for 90d --keep-jobs 100000            # older finished jobs are deleted
millhand serve --check --db sqlite:////var/lib/millhand/jobs.db   # may a server start on it?
curl -H "Authorization: Bearer $(cat token)" http://127.0.0.1:8077/api/jobs
""",
)
@click.option("--check", is_flag=True, help="Look whether the database can be used, and write nothing.")
@output_options
@server_settings
def command(*, server: Mapping[str, Any], check: bool, out: Output, log_level: str, log_format: Any) -> int:
    """Serve the Jobs API until SIGTERM or Ctrl-C. What it answers with 200 is durable.

    Without --token or --token-file only the tokens in the database are accepted (millhand token). Where
    other machines can reach it, it does not start without any. SIGTERM ends it once every request under way
    is answered. A service manager may hold its socket (LISTEN_FDS), so that nobody is refused meanwhile.
    On PostgreSQL any number of servers share a database.
    """
    from worker import log
    from worker.cli.secrecy import guard_secrets

    guard_secrets(SERVER_SETTINGS)
    token = token_of(server)

    secrets = [token, password_in(given_db(server) or "")]
    log.configure(log_level, log_format, secrets=[secret for secret in secrets if secret])
    try:
        from server.retention import Keeping
        from server.serve import ServeConfig, run
        from server.store.choice import DatabaseOptions
    except ImportError as exc:
        raise CliError(
            f"the server cannot be loaded: {exc}",
            "pip install 'millhand[server]'",
            code=ExitCode.CONFIGURATION,
        ) from exc
    options = DatabaseOptions(
        connections=server["server_db_connections"], timeout_s=server["server_db_timeout"]
    )
    if check:
        return _check(db_of(server), options, out)
    config = ServeConfig(
        host=server["server_host"],
        port=server["server_port"],
        db=db_of(server),
        token=token,
        max_body_bytes=server["server_max_body"],
        lease_s=server["server_lease"],
        prices=prices_of(server),
        keeping=Keeping(server["server_keep_jobs_for"], server["server_keep_jobs"]),
        certificate=certificate_of(server),
        trusted_proxies=proxies_of(server),
        rate_per_s=server["server_rate_limit"],
        max_connections=server["server_max_connections"],
        max_requests=server["server_max_requests"],
        shutdown_delay_s=server["server_shutdown_delay"],
        access_log=server["server_access_log"],
        audit_log=server["server_audit_log"],
        metrics_host=server["server_metrics_host"],
        metrics_port=server["server_metrics_port"],
        db_options=options,
        files=tuple(map(Path, server["server_files"])),
    )
    code = run(config)
    return ExitCode.CONFIGURATION if code == ExitCode.USAGE else code


def certificate_of(server: Mapping[str, Any]) -> Certificate | None:
    """Return the files of TLS; None where there are none.

    Raises: CliError where one of the two is missing.
    """
    from server.tls import Certificate

    certificate, key = server["server_tls_cert"], server["server_tls_key"]
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        given, missing = ("--tls-cert", "--tls-key") if key is None else ("--tls-key", "--tls-cert")
        raise CliError(
            f"{given} is given without {missing}", f"give {missing}, too", code=ExitCode.CONFIGURATION
        )
    return Certificate(certificate, key)


def prices_of(server: Mapping[str, Any]) -> Prices | None:
    """Return what machines cost; None where nobody says.

    Raises: CliError where the file cannot be read.
    """
    from server.prices import PricesError, read_prices

    path: Path | None = server["server_prices"]
    if path is None:
        return None
    try:
        return read_prices(path)
    except PricesError as exc:
        raise CliError(
            str(exc), "docs/dashboard.md shows how prices are written", code=ExitCode.CONFIGURATION
        ) from exc


def proxies_of(server: Mapping[str, Any]) -> tuple[Network, ...]:
    """Return the proxies to believe.

    Raises: CliError where one is no address.
    """
    from server.http.peers import network

    found = []
    for text in server["server_trusted_proxies"]:
        try:
            found.append(network(text))
        except ValueError as exc:
            raise CliError(
                f"--trusted-proxies {text!r} is no address and no network",
                "give addresses or networks like 10.0.0.7, 10.0.0.0/24, fd00::/8",
                code=ExitCode.CONFIGURATION,
            ) from exc
    return tuple(found)


def _check(url: str, options: DatabaseOptions, out: Output) -> int:
    """Show what the database is; exit code 0 where a server could start on it."""
    from server.store.check import check_database
    from server.store.refusal import DatabaseError, DatabaseUnreachable

    try:
        report = check_database(url, options)
    except DatabaseUnreachable as exc:
        raise CliError(str(exc), "is it running, and may this user log in?", code=ExitCode.FAILED) from exc
    except DatabaseError as exc:
        raise CliError(str(exc), code=ExitCode.CONFIGURATION) from exc
    if out.is_json:
        out.json(msgspec.to_builtins(report))
    else:
        out.say(report.as_text())
    return ExitCode.OK


def db_of(server: Mapping[str, Any]) -> str:
    """Return the database's URL; the default's folder is made.

    Raises: CliError where its file cannot be read or is empty, or the folder not made.
    """
    if given := given_db(server):
        return given
    folder = paths.state_home()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise CliError(
            f"state folder {folder}: {exc.strerror}",
            "give --db or MILLHAND_SERVER_DB",
            code=ExitCode.CONFIGURATION,
        ) from exc
    return f"sqlite:///{folder / 'server.db'}"


def given_db(server: Mapping[str, Any]) -> str | None:
    """Return the database's URL where one is given; a file wins over a value.

    Raises: CliError where the file cannot be read or is empty.
    """
    path: Path | None = server["server_db_file"]
    return server["server_db"] or None if path is None else content_of(path, "database file")


def password_in(url: str) -> str | None:
    """Return the password in a database's URL."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return None
    return None if password is None else unquote(password)


def token_of(server: Mapping[str, Any]) -> str | None:
    """Return the server's token; a file wins over a value.

    Raises: CliError where the file cannot be read or is empty.
    """
    path: Path | None = server["server_token_file"]
    return server["server_token"] or None if path is None else content_of(path, "token file")


def content_of(path: Path, what: str) -> str:
    """Return the only line of a file.

    Raises: CliError where it cannot be read or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise CliError(f"{what} {path} cannot be read: {exc}", code=ExitCode.CONFIGURATION) from exc
    if not text:
        raise CliError(f"{what} {path} is empty", code=ExitCode.CONFIGURATION)
    return text
