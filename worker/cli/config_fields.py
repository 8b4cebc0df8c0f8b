"""Which field of the configuration a setting fills, and what stands there by default."""

from __future__ import annotations

from typing import Final

from msgspec import structs

from worker.config import AgentConfig, ApiConfig

__all__ = ["AGENT", "API", "field_name"]

API: Final = {field.name: field.default for field in structs.fields(ApiConfig)}
AGENT: Final = {field.name: field.default for field in structs.fields(AgentConfig)}

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
