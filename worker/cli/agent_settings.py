"""The settings of the agent, and the configuration that they make."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from worker.cli import paths
from worker.cli.config_fields import AGENT, field_name
from worker.cli.exits import CliError, ExitCode
from worker.cli.setting import Setting, with_settings
from worker.cli.values import BYTES, DURATION, FILE, FOLDER, MEMORY_LIMIT, TIME_LIMIT
from worker.config import AgentConfig, ApiConfig
from worker.executor.named_secrets import secret_variables

__all__ = [
    "AGENT_SETTINGS",
    "HANDLERS_SETTING",
    "INPUT_SETTINGS",
    "STORE_SETTING",
    "agent_settings",
    "build_agent",
]

F = TypeVar("F", bound=Callable[..., Any])

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
    Setting(name="batches", type=click.Choice(["auto", "off"]), default=AGENT["batches"],
            help="Whether claims and reports of one moment go in one request, where there are several slots"
                 " and the server takes that."),
    Setting(name="claim_ahead", type=click.Choice(["auto", "off"]), default=AGENT["claim_ahead"],
            help="Whether more is claimed than slots are free, while runs are over within moments."),
    Setting(name="offers", type=click.Choice(["auto", "off"]), default=AGENT["offers"],
            help="Whether an agent that waits offers a run to the next task, where the server takes that."),
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


def agent_settings(function: F) -> F:
    """Give a command the settings of the agent, as `agent`: a function from `ApiConfig` to `AgentConfig`."""
    return with_settings("Agent", AGENT_SETTINGS, build_agent, "agent")(function)


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
