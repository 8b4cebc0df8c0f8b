"""What the page may ask for: our own files, from memory. Everything else is refused before it begins."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

__all__ = ["ORIGIN", "answer_to"]

ORIGIN: Final = "https://render.invalid"  # a name that never exists (RFC 6761)
HERE: Final = Path(__file__).resolve().parent
TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm"}
POLICY: Final = (
    "default-src 'none'; script-src 'self' 'nonce-render' 'wasm-unsafe-eval'; worker-src blob:; "
    "img-src blob: data:; connect-src 'self' blob: data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; webrtc 'block'"
)


def answer_to(request_id: str, url: str) -> tuple[str, dict[str, Any]]:
    """Return what to call for a request that stands still: its method and parameters."""
    if url.startswith(("blob:", "data:")):  # made by the page itself
        return "Fetch.continueRequest", {"requestId": request_id}
    file = file_of(url)
    if file is None:
        return "Fetch.failRequest", {"requestId": request_id, "errorReason": "BlockedByClient"}
    headers = {
        "Content-Type": TYPES[file.suffix],
        "Content-Security-Policy": POLICY,
        "X-DNS-Prefetch-Control": "off",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    return "Fetch.fulfillRequest", {
        "requestId": request_id,
        "responseCode": 200,
        "responseHeaders": [{"name": name, "value": value} for name, value in headers.items()],
        "body": b64encode(file.read_bytes()).decode(),
    }


def file_of(url: str) -> Path | None:
    """Return one of our files by its address; None for any other address."""
    split = urlsplit(url)
    if f"{split.scheme}://{split.netloc}" != ORIGIN or split.query:
        return None
    return FILES.get(split.path)


def our_files() -> dict[str, Path]:
    """Return every file of the page, by its path there."""
    vendored = HERE / "vendor"
    names = ("environments", "libs", "loaders", "three", "utils")
    files = [file for name in names for file in (vendored / name).rglob("*") if file.suffix in TYPES]
    found = {f"/{file.relative_to(vendored).as_posix()}": file for file in files}
    return found | {"/": HERE / "page.html", "/page.js": HERE / "page.js"}


FILES: Final = our_files()
