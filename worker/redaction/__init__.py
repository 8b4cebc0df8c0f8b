"""Take secrets out of what people will read: texts, results, and streams of bytes in pieces."""

from __future__ import annotations

from worker.redaction.own import OwnSecrets
from worker.redaction.redactor import Redactor
from worker.redaction.spans import REDACTED
from worker.redaction.stream import StreamRedactor

__all__ = ["REDACTED", "OwnSecrets", "Redactor", "StreamRedactor"]
