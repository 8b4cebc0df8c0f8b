"""The settings of the agent, as values; where they come from is the command line's matter."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from msgspec import Struct, field

__all__ = ["AgentConfig", "ApiConfig"]


class ApiConfig(Struct, frozen=True, kw_only=True):
    """How to reach a Jobs API."""

    url: str = "http://127.0.0.1:8077"
    token: str | None = None
    token_file: Path | None = None  # re-read when it changes; wins over `token`
    org_id: str | None = None
    ca_file: Path | None = None  # PEM bundle instead of the system's
    client_cert: Path | None = None  # PEM, with client_key unless it holds the key too
    client_key: Path | None = None
    proxy: str | None = None  # http://[user:password@]host:port
    wire: Literal["json", "strings"] = "json"  # "strings": every field of updateRunBody as a string
    request_timeout_s: float = 30.0  # one request, its answer included


class AgentConfig(Struct, frozen=True, kw_only=True):
    """Everything the agent is told. Times in seconds."""

    api: ApiConfig = field(default_factory=ApiConfig)
    state_dir: Path
    concurrency: int = 1  # slots
    type_concurrency: dict[str, int] = field(default_factory=dict)  # the most runs at once of single types
    types: tuple[str, ...] = ()  # only these task types; empty: all that have a handler
    handlers: tuple[str, ...] = ()  # modules, files or folders beside the entry points
    labels: dict[str, str] = field(default_factory=dict)
    artifacts: str | None = None  # a folder or URL; None: <state_dir>/artifacts
    store_token: str | None = None  # for a store that is reached by HTTP
    store_token_file: Path | None = None  # re-read when it changes; wins over `store_token`
    spool_bytes: int = 50 * 1024**3  # of files that wait to be stored; with more, nothing is claimed
    commands: tuple[str, ...] = ()  # programs that the `command` handler may run
    command_templates: Path | None = None  # and this file's templates of commands
    images: tuple[str, ...] = ()  # images that the `container` handler may run, or patterns of them
    container_engine: str | None = None  # docker, podman or a path; None: whichever is found
    container_network: Literal["none", "bridge"] = "none"
    container_user: str | None = None  # UID[:GID]; None: the agent's own, nobody where that is root
    poll_interval_s: float = 5.0
    poll_max_s: float = 60.0
    long_poll_s: float = 30.0  # 0: never asked for
    batches: Literal["auto", "off"] = "auto"  # whether writes of one moment go in one request, where they may
    claim_ahead: Literal["auto", "off"] = (
        "auto"  # whether more is claimed than slots are free, while runs are short
    )
    offers: Literal["auto", "off"] = "auto"  # whether a run is offered while it waits, where that may be
    report_interval_s: float = 2.0  # at most one report of progress in this time
    heartbeat_s: float = 15.0  # at least one report in this time
    drain_timeout_s: float = 30.0
    claims: Literal["auto", "key", "election"] = "auto"
    settle_s: float = 2.0  # how long lists may lag behind writes, for elections
    max_attempts: int | None = None  # the most for any task, whatever it or its handler says; None: 100
    job_interval_s: float = 5.0  # how old the wanted state of a job may be
    timeout_s: float | None = None  # the longest that any run may take
    no_progress_s: float | None = None  # the longest that any run may tell no progress
    memory_bytes: int | None = None  # the most that the processes of any run may have together
    cgroups: Literal["auto", "off"] = "auto"  # whether children get control groups, where they can be made
    max_processes: int = 4096  # of a run and its child, threads counted, where a control group can hold it
    load_timeout_s: float = 300.0  # of a handler's import and setup: a cold network disk takes minutes
    child_idle_s: float = 600.0  # a child without a run for so long is let go
    child_runs: int = 1000  # a child is replaced after so many runs
    child_growth_bytes: int = 1024**3  # and when it has so much more private memory than after its first
    output_bytes: int = 8 * 1024**2  # of the beginning of stdout and stderr each; their end is kept besides
    keep_output: Literal["all", "failed", "none"] = "all"  # the files of what which runs printed
    workdir_bytes: int | None = None  # the most that the folder of a run may hold
    keep_workdirs: Literal["never", "failed"] = "never"  # the folders of runs, when they have ended
    keep_workdirs_age_s: float = 86_400.0  # how long such a folder is kept
    keep_workdirs_bytes: int = 10 * 1024**3  # and how much of them; the oldest go first
    min_free_bytes: int = 512 * 1024**2  # on the disks that the agent fills; with less, nothing is claimed
    min_memory_bytes: int | None = None  # available; with less nothing is claimed; None: 256 MiB, or a tenth
    memory_pressure: float = 20.0  # percent of 10 s that everything waited for memory; with more, the same
    input_cache: Path | None = None  # where inputs are kept between runs; None: nowhere
    input_cache_bytes: int = 20 * 1024**3  # of them
    secrets_dir: Path | None = None  # a file for each secret that handlers ask for by name
    secrets: dict[str, str] = field(default_factory=dict)  # the same by value; a file wins
    gpus: tuple[str, ...] = ()  # that the agent may use, by index or UUID; none named: all
    gpu_runs: int = 1  # that one GPU, or instance of MIG, is given to at once
    gpu_shared: bool = False  # others may compute on the GPUs, and that keeps no task away
    gpu_quarantine_s: float = 60.0  # of a GPU on which task after task failed at once; 0: never
    task_user: str | None = None  # whom handlers run as; None: whom the agent runs as
    hardening: tuple[str, ...] = ("no_new_privs",)  # and "landlock"; or only "none"
    hide: tuple[str, ...] = ()  # further paths that landlock hides from handlers
    exit_when_idle: bool = False
    http_port: int = 0  # of the agent's own page; 0: there is none
    http_host: str = "127.0.0.1"  # where it listens
    cloud: Literal["auto", "gce", "aws", "azure", "any", "none"] = "auto"  # whose metadata are asked
    rebalance: Literal["log", "hold"] = "log"  # what comes of AWS' recommendation to move elsewhere
    zone: str | None = None  # facts that a person knows better
    machine_type: str | None = None
    preemptible: bool | None = None
    request_cpus: float | None = None
    request_ram_bytes: int | None = None
