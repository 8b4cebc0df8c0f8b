"""Every setting, once. Flag, variable and key of the file follow from the name (see `setting`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import click
from msgspec import structs

from worker.cli import paths
from worker.cli.exits import CliError, ExitCode
from worker.cli.setting import Setting, with_settings
from worker.cli.values import BYTES, DURATION, MEMORY_LIMIT, TIME_LIMIT
from worker.config import AgentConfig, ApiConfig
from worker.executor.named_secrets import secret_variables

__all__ = [
    "AGENT_SETTINGS",
    "ALL_SETTINGS",
    "API_SETTINGS",
    "HANDLERS_SETTING",
    "INPUT_SETTINGS",
    "LOG_SETTINGS",
    "SERVER_SETTINGS",
    "STORE_SETTING",
    "agent_settings",
    "api_settings",
    "build_agent",
    "server_settings",
]

F = TypeVar("F", bound=Callable[..., Any])

FILE: Final = click.Path(dir_okay=False, path_type=Path)
FOLDER: Final = click.Path(file_okay=False, path_type=Path)
API: Final = {field.name: field.default for field in structs.fields(ApiConfig)}
AGENT: Final = {field.name: field.default for field in structs.fields(AgentConfig)}

API_SETTINGS: Final = (
    Setting(name="api_url", default=API["url"], metavar="URL", help="Where the Jobs API answers."),
    Setting(name="token", metavar="TOKEN", is_secret=True,
            help="Token of the API; as a flag, every user here sees it."),
    Setting(name="token_file", type=FILE, metavar="FILE",
            help="File that holds the token; read again when it changes; wins over the token itself."),
    Setting(name="org_id", metavar="ID", help="Only this organisation."),
    Setting(name="ca_file", type=FILE, metavar="FILE", help="PEM file of the authorities to trust."),
    Setting(name="client_cert", type=FILE, metavar="FILE", help="PEM certificate to show to the API."),
    Setting(name="client_key", type=FILE, metavar="FILE", help="Its PEM key, if in a file of its own."),
    Setting(name="proxy", metavar="URL", is_secret=True, help="HTTP proxy on the way to the API."),
    Setting(name="wire", type=click.Choice(["json", "strings"]), default=API["wire"],
            help="How bodies of runs are written: JSON values, or every field as a string."),
    Setting(name="request_timeout", type=DURATION, default=API["request_timeout_s"], metavar="TIME",
            help="Limit of one request, its answer included."),
)  # fmt: skip

STORE_SETTING: Final = Setting(
    name="store", metavar="FOLDER|URL", is_secret=True,  # a URL may hold credentials
    help="Where files of tasks are kept: a folder that every machine sees, s3://bucket/prefix (gs://, az://),"
    " or https://host/prefix that takes PUT."
    " Without it an agent keeps them in its state folder.",
)  # fmt: skip

HANDLERS_SETTING: Final = Setting(
    name="handlers", kind="words", metavar="PATH,…",
    help="Modules, files or folders with handlers, beside those that are installed.",
)  # fmt: skip

SECRETS_SETTING: Final = Setting(
    name="secrets_dir", type=FOLDER, metavar="FOLDER",
    help="Folder of secrets that handlers ask for by name, a file each, read at each run; it wins over"
    " variables MILLHAND_SECRET_NAME.",
)  # fmt: skip

INPUT_SETTINGS: Final = (
    Setting(name="input_cache", type=FOLDER, metavar="FOLDER", default_text="none",
            help="Where inputs that handlers download are kept between runs; agents of one user share it."),
    Setting(name="input_cache_size", type=BYTES, default=AGENT["input_cache_bytes"], metavar="SIZE",
            default_text="20GiB", help="How much of them is kept; what was used longest ago goes first."),
)  # fmt: skip

AGENT_SETTINGS: Final = (
    Setting(name="concurrency", type=click.IntRange(1, 1024), default=AGENT["concurrency"], metavar="N",
            help="Slots: how many tasks run at once."),
    Setting(name="type_concurrency", kind="pairs", metavar="TYPE=N", default_text="as their handlers say",
            help="How many tasks of single types run at once; it counts instead of what the handler says."),
    Setting(name="types", kind="words", metavar="TYPE,…", default_text="all that have a handler",
            help="Only tasks of these types."),
    HANDLERS_SETTING,
    Setting(name="labels", kind="pairs", metavar="KEY=VALUE",
            help="Labels of this machine, for tasks that require them."),
    Setting(name="commands", kind="words", metavar="PROGRAM,…", default_text="none",
            help="Programs that the `command` handler may run."),
    Setting(name="command_templates", type=FILE, metavar="FILE", default_text="none",
            help="TOML file with commands of which a task gives only values."),
    Setting(name="images", kind="words", metavar="IMAGE,…", default_text="none",
            help="Images that the `container` handler may run, or patterns of them: registry.test/acme/*."),
    Setting(name="container_engine", metavar="PROGRAM", default_text="docker or podman, whichever is found",
            help="What runs containers: docker, podman, or the path of one."),
    Setting(name="container_network", type=click.Choice(["none", "bridge"]),
            default=AGENT["container_network"],
            help="The network of containers: none, or the engine's bridge, which leads out."),
    Setting(name="container_user", metavar="UID[:GID]", default_text="the agent's, nobody where that is root",
            help="Whose programs in containers are."),
    Setting(name="state_dir", type=FOLDER, metavar="FOLDER", default_text="$XDG_STATE_HOME/millhand/agent",
            help="The agent's durable state: identity, journal, files of runs."),
    STORE_SETTING,
    Setting(name="store_token", metavar="TOKEN", is_secret=True,
            help="Token of a store that is reached by HTTP; as a flag, every user here sees it."),
    Setting(name="store_token_file", type=FILE, metavar="FILE",
            help="File that holds it; read again when it changes; wins over the token itself."),
    Setting(name="spool", type=BYTES, default=AGENT["spool_bytes"], default_text="50 GiB", metavar="SIZE",
            help="Of files that wait to be stored; with more in the state folder, no task is claimed."),
    Setting(name="poll_interval", type=DURATION, default=AGENT["poll_interval_s"], metavar="TIME",
            help="Between two polls while nothing comes; base of the back-off."),
    Setting(name="poll_max", type=DURATION, default=AGENT["poll_max_s"], metavar="TIME",
            help="The longest that the back-off grows to."),
    Setting(name="long_poll", type=DURATION, default=AGENT["long_poll_s"], metavar="TIME",
            help="How long a server that knows how may hold a poll; 0: never asked for."),
    Setting(name="report_interval", type=DURATION, default=AGENT["report_interval_s"], metavar="TIME",
            help="At most one report of progress per run in this time."),
    Setting(name="heartbeat", type=DURATION, default=AGENT["heartbeat_s"], metavar="TIME",
            help="At least one report per run in this time."),
    Setting(name="drain_timeout", type=DURATION, default=AGENT["drain_timeout_s"], metavar="TIME",
            help="How long runs may go on after the agent was told to stop."),
    Setting(name="timeout", type=TIME_LIMIT, metavar="TIME", default_text="none",
            help="Wall time limit of every run; a task or handler may set a nearer one."),
    Setting(name="no_progress", type=TIME_LIMIT, metavar="TIME", default_text="none",
            help="How long any run may tell no progress; a task or handler may set a nearer limit."),
    Setting(name="memory", type=MEMORY_LIMIT, metavar="SIZE", default_text="none",
            help="How much memory all processes of a run may have; a task or handler may set a lower limit."),
    Setting(name="cgroups", type=click.Choice(["auto", "off"]), default=AGENT["cgroups"],
            help="Whether runs get control groups of their own, where they can be made; they hold limits."),
    Setting(name="max_processes", type=click.IntRange(16), default=AGENT["max_processes"], metavar="N",
            help="How many processes and threads a run may have, where a control group can hold it."),
    Setting(name="load_timeout", type=TIME_LIMIT, default=AGENT["load_timeout_s"], metavar="TIME",
            help="How long the import of a handler and its setup may take."),
    Setting(name="child_idle", type=DURATION, default=AGENT["child_idle_s"], metavar="TIME",
            help="How long a warm process is kept without a run, with all that it has loaded; while memory is"
                 " short, not at all."),
    Setting(name="keep_output", type=click.Choice(["all", "failed", "none"]), default=AGENT["keep_output"],
            help="Which runs' stdout and stderr are stored as files; lines are shown all the same."),
    Setting(name="output", type=BYTES, default=AGENT["output_bytes"], default_text="8 MiB", metavar="SIZE",
            help="How much of each is kept from its beginning; of its end 256 KiB are kept besides."),
    Setting(name="workdir_size", type=MEMORY_LIMIT, metavar="SIZE", default_text="none",
            help="How much the folder of a run may hold on the disk; with more the run is stopped."),
    Setting(name="keep_workdirs", type=click.Choice(["never", "failed"]), default=AGENT["keep_workdirs"],
            help="Whether the folders of failed runs are kept, below the state folder, to be looked at."),
    Setting(name="keep_workdirs_age", type=DURATION, default=AGENT["keep_workdirs_age_s"], metavar="TIME",
            help="How long they are kept."),
    Setting(name="keep_workdirs_size", type=BYTES, default=AGENT["keep_workdirs_bytes"], metavar="SIZE",
            default_text="10GiB", help="How much of them is kept; the oldest go first."),
    *INPUT_SETTINGS,
    SECRETS_SETTING,
    Setting(name="min_free", type=BYTES, default=AGENT["min_free_bytes"], metavar="SIZE",
            default_text="512MiB",
            help="With less free for the state folder, or for a store that is a folder, no task is claimed;"
            " 0: never looked at."),
    Setting(name="min_memory", type=BYTES, metavar="SIZE", default_text="256MiB, or a tenth of all if less",
            help="With less memory available, on the machine or below the limit of the agent's control group,"
            " no task is claimed; 0: never looked at."),
    Setting(name="memory_pressure", type=click.FloatRange(0, 100), default=AGENT["memory_pressure"],
            metavar="PERCENT",
            help="Of ten seconds, in which everything waited for memory (PSI, full): with more, no task is"
            " claimed; 0: never looked at."),
    Setting(name="gpus", kind="words", metavar="GPU,…", default_text="all",
            help="Which GPUs the agent may use, where several agents share a machine: indices as NVML counts,"
            " UUIDs or beginnings of them. One that is not there holds tasks for GPUs."),
    Setting(name="gpu_runs", type=click.IntRange(1, 64), default=AGENT["gpu_runs"], metavar="N",
            help="To how many runs one GPU, or instance of MIG, is given at once."),
    Setting(name="gpu_shared", kind="flag", default=AGENT["gpu_shared"],
            help="Others may compute on the GPUs too; without it, one that others use is given to no run."),
    Setting(name="gpu_quarantine", type=DURATION, default=AGENT["gpu_quarantine_s"], metavar="TIME",
            help="How long a GPU on which 3 tasks in a row failed at once is given to no run, doubled each"
            " time; 0: never."),
    Setting(name="child_runs", type=click.IntRange(1), default=AGENT["child_runs"], metavar="N",
            help="After so many runs a warm process is replaced."),
    Setting(name="child_growth", type=BYTES, default=AGENT["child_growth_bytes"], metavar="SIZE",
            default_text="1GiB",
            help="A warm process is replaced when it has so much more memory than after its first run."),
    Setting(name="task_user", metavar="NAME", default_text="the agent's",
            help="User that handlers run as; the agent must be root, or may change users."),
    Setting(name="hardening", kind="words", metavar="WORD,…", default_text=",".join(AGENT["hardening"]),
            help="How handlers are confined: no_new_privs, landlock (hides the agent's secrets from them);"
            " or none."),
    Setting(name="hide", kind="words", metavar="PATH,…",
            help="Files and folders that landlock hides from handlers, beside the agent's own."),
    Setting(name="claims", type=click.Choice(["auto", "key", "election"]), default=AGENT["claims"],
            help="Who decides a race for a task; auto finds it out once per server."),
    Setting(name="settle", type=DURATION, default=AGENT["settle_s"], metavar="TIME",
            help="How long the server's lists may lag behind its writes (elections)."),
    Setting(name="max_attempts", type=click.IntRange(1, 1000), metavar="N", default_text="100",
            help="The most attempts at any task, interruptions not counted. How many it gets (3 by default),"
            " and when, say the task or its handler."),
    Setting(name="job_interval", type=DURATION, default=AGENT["job_interval_s"], metavar="TIME",
            help="How old may be what is known of a job's wanted state (paused, cancelled)."),
    Setting(name="exit_when_idle", kind="flag", default=AGENT["exit_when_idle"],
            help="Exit when no task is left to do."),
    Setting(name="http_port", type=click.IntRange(0, 65535), default=AGENT["http_port"], metavar="PORT",
            help="Port of the agent's own page: /status, /healthz, /readyz, /metrics; 0: none."),
    Setting(name="http_host", default=AGENT["http_host"], metavar="ADDRESS",
            help="Address that this page listens on; it asks for no token."),
    Setting(name="cloud", default=AGENT["cloud"],
            type=click.Choice(["auto", "gce", "aws", "azure", "any", "none"], case_sensitive=False),
            help="Whose metadata are asked what this machine is, and whether it will be taken away; auto: the"
            " cloud that the firmware names."),
    Setting(name="rebalance", type=click.Choice(["log", "hold"]), default=AGENT["rebalance"],
            help="What comes of AWS' recommendation to leave a machine that may be taken away soon: it is"
            " only logged, or no further task is claimed."),
    Setting(name="zone", metavar="ZONE", default_text="asked of the cloud", help="Zone of this machine."),
    Setting(name="machine_type", metavar="TYPE", default_text="asked of the cloud, or of the firmware",
            help="What its provider calls machines of this kind."),
    Setting(name="preemptible", kind="flag", default_text="asked of the cloud",
            help="Whether this machine may be taken away."),
    Setting(name="request_cpus", type=click.FloatRange(0, min_open=True), metavar="CPUS",
            help="CPUs that were requested for the agent, where nothing on the machine tells."),
    Setting(name="request_ram", type=BYTES, metavar="SIZE",
            help="Memory that was requested for the agent, where nothing on the machine tells."),
)  # fmt: skip

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

LOG_SETTINGS: Final = (
    Setting(name="log_level", type=click.Choice(["debug", "info", "warning", "error"]), default="info",
            help="The least that is logged."),
    Setting(name="log_format", type=click.Choice(["auto", "text", "json"]), default="auto",
            help="How it is logged to stderr; auto: text on a terminal, else JSON lines."),
)  # fmt: skip

ALL_SETTINGS: Final = API_SETTINGS + AGENT_SETTINGS + SERVER_SETTINGS + LOG_SETTINGS

WITH_UNIT: Final = frozenset(
    {"request_timeout", "poll_interval", "poll_max", "long_poll", "report_interval", "heartbeat"}
    | {"drain_timeout", "timeout", "no_progress", "load_timeout", "child_idle", "settle", "job_interval"}
    | {"keep_workdirs_age", "gpu_quarantine"}
)

IN_BYTES: Final = frozenset(
    {"memory", "child_growth", "request_ram", "spool", "min_free", "min_memory", "output"}
)

OTHER_FIELDS: Final = {
    "api_url": "url",
    "store": "artifacts",
    "workdir_size": "workdir_bytes",
    "keep_workdirs_size": "keep_workdirs_bytes",
    "input_cache_size": "input_cache_bytes",
}


def field_name(setting: str) -> str:
    """Return the field of the configuration that a setting fills."""
    if setting in WITH_UNIT:
        return setting + "_s"
    if setting in IN_BYTES:
        return setting + "_bytes"
    return OTHER_FIELDS.get(setting, setting)


def api_settings(function: F) -> F:
    """Give a command the settings of the API, as `api: ApiConfig`."""
    return with_settings("Jobs API", API_SETTINGS, build_api, "api")(function)


def agent_settings(function: F) -> F:
    """Give a command the settings of the agent, as `agent`: a function from `ApiConfig` to `AgentConfig`."""
    return with_settings("Agent", AGENT_SETTINGS, build_agent, "agent")(function)


def server_settings(function: F) -> F:
    """Give a command the settings of the server, as `server`: a mapping by the setting's name."""
    return with_settings("Server", SERVER_SETTINGS, dict, "server")(function)


def build_api(given: Mapping[str, Any]) -> ApiConfig:
    """Return how to reach the API.

    Raises: CliError where the address is none.
    """
    url = given["api_url"]
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise CliError(
            f"{url!r} is not the address of a Jobs API",
            "set --api-url or MILLHAND_API_URL to something like http://127.0.0.1:8077",
            code=ExitCode.CONFIGURATION,
        )
    return ApiConfig(**{field_name(name): value for name, value in given.items()})


def build_agent(given: Mapping[str, Any]) -> Callable[[ApiConfig], AgentConfig]:
    """Return the function that completes the agent's configuration by the API's."""
    fields = {field_name(name): value for name, value in given.items()}
    fields["state_dir"] = fields["state_dir"] or paths.agent_state_dir()
    fields["type_concurrency"] = type_limits(fields["type_concurrency"])
    fields["secrets"] = secret_variables(os.environ)
    fields["hardening"] = fields["hardening"] or AGENT["hardening"]
    return lambda api: AgentConfig(api=api, **fields)


def type_limits(given: Mapping[str, object]) -> dict[str, int]:
    """Return how many runs of single types may go on at once.

    Raises: CliError where that is no number from 1.
    """
    for type_, limit in given.items():
        if not str(limit).isdecimal() or int(str(limit)) < 1:
            raise CliError(
                f"type_concurrency: {type_}={limit} is no number of runs",
                "write a whole number from 1, as in render=2; --types leaves a type out",
                code=ExitCode.CONFIGURATION,
            )
    return {type_: int(str(limit)) for type_, limit in given.items()}
