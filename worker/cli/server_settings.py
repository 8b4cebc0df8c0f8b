"""The settings of the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from worker.cli.setting import Setting, with_settings
from worker.cli.values import BYTES, DURATION, FILE, TIME_LIMIT

__all__ = ["SERVER_SETTINGS", "server_settings"]

F = TypeVar("F", bound=Callable[..., Any])

SERVER_SETTINGS: Final = (
    Setting(name="server_host", flag_name="host", default="127.0.0.1", metavar="ADDRESS",
            help="Address to listen on."),
    Setting(name="server_port", flag_name="port", type=click.IntRange(0, 65535), default=8077,
            metavar="PORT", help="Port to listen on; 0 takes a free one."),
    Setting(name="server_tls_cert", flag_name="tls-cert", type=FILE, metavar="FILE",
            help="PEM certificate with its chain: serve HTTPS; SIGHUP reads it again."),
    Setting(name="server_tls_key", flag_name="tls-key", type=FILE, metavar="FILE",
            help="Its PEM key, without a password."),
    Setting(name="server_trusted_proxies", flag_name="trusted-proxies", kind="words", metavar="ADDRESS,…",
            default_text="none",
            help="Addresses or networks of proxies whose X-Forwarded-For is believed in logs."),
    Setting(name="server_max_body", flag_name="max-body", type=BYTES, default=8 * 1024 * 1024, metavar="SIZE",
            default_text="8 MiB", help="Larger bodies of requests are refused with 413."),
    Setting(name="server_rate_limit", flag_name="rate-limit", type=click.FloatRange(0), default=0.0,
            metavar="N", default_text="any number",
            help="Requests that a token may make in a second, on average; further ones get 429."),
    Setting(name="server_max_connections", flag_name="max-connections", type=click.IntRange(1, 1_000_000),
            default=10_000, metavar="N", help="Connections at once; further ones get 503."),
    Setting(name="server_max_requests", flag_name="max-requests", type=click.IntRange(1, 1_000_000),
            default=2_000, metavar="N",
            help="Requests worked on at once, without those that wait for a task; further ones get 503."),
    Setting(name="server_shutdown_delay", flag_name="shutdown-delay", type=DURATION, default=0.0,
            metavar="TIME",
            help="How long it serves on after SIGTERM, while /readyz says 503, so that a load balancer sends"
            " nothing more before the port is closed."),
    Setting(name="server_access_log", flag_name="access-log", kind="flag", default=False,
            help="Log every request, without its query."),
    Setting(name="server_audit_log", flag_name="audit-log", metavar="FILE", default_text="none",
            help="File that gets a line of JSON for each write; - is stderr; SIGHUP opens it anew."),
    Setting(name="server_files", flag_name="files", kind="words", metavar="FOLDER,…", default_text="none",
            help="Folders in which agents store files (their --store): the dashboard shows what runs have put"
            " there."),
    Setting(name="server_metrics_port", flag_name="metrics-port", type=click.IntRange(0, 65535), default=0,
            metavar="PORT", help="Port of the operators' page: /metrics, /healthz, /readyz; 0: none."),
    Setting(name="server_metrics_host", flag_name="metrics-host", default="127.0.0.1", metavar="ADDRESS",
            help="Address that this page listens on; it asks for no token."),
    Setting(name="server_prices", flag_name="prices", type=FILE, metavar="FILE", default_text="none",
            help="TOML file that says what machines cost; the reports of the dashboard then show money."),
    Setting(name="server_lease", flag_name="lease", type=DURATION, default=90.0, metavar="TIME",
            help="How long an agent may be silent about a run before others get its task; 0: for ever."),
    Setting(name="server_keep_jobs_for", flag_name="keep-jobs-for", type=TIME_LIMIT, metavar="TIME",
            default_text="for ever",
            help="How long finished jobs are kept after their last change; then they are deleted, with all"
            " tasks and runs."),
    Setting(name="server_keep_jobs", flag_name="keep-jobs", type=click.IntRange(1), metavar="N",
            default_text="all",
            help="How many finished jobs of each organisation are kept; those that were changed longest ago"
            " are deleted, an hour after it at the soonest."),
    Setting(name="server_db", flag_name="db", is_secret=True, metavar="URL",
            default_text="sqlite:///$XDG_STATE_HOME/millhand/server.db",
            help="Database: sqlite:///relative.db, sqlite:////absolute.db, postgresql://user@host/name; sqlite://"
            " keeps it in memory."),
    Setting(name="server_db_file", flag_name="db-file", type=FILE, metavar="FILE",
            help="File that holds this URL, for one with a password; it is read at the start."),
    Setting(name="server_db_connections", flag_name="db-connections", type=click.IntRange(1, 500), default=8,
            metavar="N", help="Connections of this server to PostgreSQL, beside one that listens."),
    Setting(name="server_db_timeout", flag_name="db-timeout", type=DURATION, default=10.0, metavar="TIME",
            help="How long PostgreSQL may take for one statement."),
    Setting(name="server_token", flag_name="token", metavar="TOKEN", is_secret=True,
            help="A token with every right in the default organisation."),
    Setting(name="server_token_file", flag_name="token-file", type=FILE, metavar="FILE",
            help="File that holds this token."),
)  # fmt: skip


def server_settings(function: F) -> F:
    """Give a command the settings of the server, as `server`: a mapping by the setting's name."""
    return with_settings("Server", SERVER_SETTINGS, dict, "server")(function)
