"""What of the agent's environment a child may see: an allow-list, and never a token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from worker.minder.kin import TREE_MARK

__all__ = ["TREE_MARK", "child_environment"]

ALLOWED: Final = frozenset({
    "HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER",
    "VIRTUAL_ENV", "MILLHAND_CHROMIUM", "MILLHAND_CHROMIUM_SANDBOX", "MILLHAND_COMMANDS",
    "MILLHAND_COMMAND_TEMPLATES", "MILLHAND_IMAGES", "MILLHAND_LOG_LEVEL",
    "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "DOCKER_CONFIG", "DOCKER_HOST", "REGISTRY_AUTH_FILE",
    "XDG_RUNTIME_DIR",
    "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONHOME", "PYTHONPATH", "PYTHONPYCACHEPREFIX",
    "PYTHONUTF8", "PYTHONWARNINGS",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE",
})  # fmt: skip
ALLOWED_PREFIXES: Final = ("LC_", "MILLHAND_CONTAINER_", "OMP_", "OPENBLAS_", "MKL_", "CUDA_", "NVIDIA_")
SECRET_PREFIXES: Final = (
    "MILLHAND_TOKEN",
    "MILLHAND_SERVER_TOKEN",
    "MILLHAND_CLIENT_KEY",
    "MILLHAND_STORE",
    "MILLHAND_SECRET",
)


def child_environment(
    ours: Mapping[str, str], *, gpus: tuple[str, ...], mark: str, also: Iterable[str] = ()
) -> dict[str, str]:
    """Return the environment of a child.

    Args:
        ours: the agent's environment.
        gpus: UUIDs of the GPUs that it may use; without one, CUDA shows it none.
        mark: names its process tree.
        also: further names that the operator lets through; names of tokens never pass.
    """
    extra = frozenset(also)
    passed = {
        name: value
        for name, value in ours.items()
        if (name in ALLOWED or name in extra or name.startswith(ALLOWED_PREFIXES))
        and not name.startswith(SECRET_PREFIXES)
    }
    visible = ",".join(gpus)
    return passed | {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": visible,
        "NVIDIA_VISIBLE_DEVICES": visible or "void",
        TREE_MARK: mark,
    }
