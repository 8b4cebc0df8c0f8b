"""TLS of the server: a certificate and its key, checked when they are loaded, and loaded again on request."""

from __future__ import annotations

import ssl
from pathlib import Path

import structlog
from msgspec import Struct

__all__ = ["Certificate", "TlsError", "load", "reload"]

log = structlog.get_logger(__name__)


class TlsError(Exception):
    """Certificate or key cannot be used: which file, why, what to do."""


class Certificate(Struct, frozen=True):
    """A PEM file with the certificate and its chain, and one with the key."""

    certificate: Path
    key: Path


class _KeyIsEncrypted(Exception):  # noqa: N818 - never leaves this module
    """The key wants a password, which a server that starts by itself cannot be asked for."""


def load(files: Certificate) -> ssl.SSLContext:
    """Return a context for a server: TLS 1.2 or newer.

    Raises:
        TlsError: a file cannot be read, is no PEM, or they do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _read(context, files)
    return context


def reload(context: ssl.SSLContext, files: Certificate) -> None:
    """Have new connections get the certificate that the files hold now; the old one, where it is unfit."""
    try:
        load(files)  # into a context that nobody uses: a half-written pair shall do no harm
        _read(context, files)
    except TlsError as exc:
        log.error("tls.not_reloaded", reason=str(exc), consequence="the old certificate is shown on")
    else:
        log.info("tls.reloaded", certificate=str(files.certificate))


def _read(context: ssl.SSLContext, files: Certificate) -> None:
    for path in (files.certificate, files.key):
        try:
            path.read_bytes()
        except OSError as exc:
            raise TlsError(f"{path} cannot be read: {exc.strerror}") from exc
    try:
        context.load_cert_chain(files.certificate, files.key, password=_refuse_password)
    except _KeyIsEncrypted as exc:
        raise TlsError(f"the key {files.key} is encrypted: give one without a password") from exc
    except ssl.SSLError as exc:
        if exc.reason == "KEY_VALUES_MISMATCH":
            why = f"the key {files.key} is not that of the certificate {files.certificate}"
        else:
            why = (
                f"{files.certificate} and {files.key} cannot be loaded: {exc.reason or exc};"
                " give PEM files, the certificate with its chain, and its key"
            )
        raise TlsError(why) from exc


def _refuse_password() -> str:
    raise _KeyIsEncrypted
