"""The agent's own secrets, which may change while it runs."""

from worker.redaction import REDACTED, OwnSecrets
from worker.redaction.own import SECRETS_MAX


def test_a_renewed_token_is_a_secret_beside_the_old_one() -> None:
    """What was logged with the old one may still be on its way."""
    current = ["first-token"]
    secrets = OwnSecrets(lambda: current)
    assert secrets().text("first-token second-token") == f"{REDACTED} second-token"
    current[:] = ["second-token"]
    assert secrets().text("first-token second-token") == f"{REDACTED} {REDACTED}"


def test_nothing_new_gives_the_same_redactor() -> None:
    """Its expressions are compiled once; asking for what is known reads nothing."""
    asked: list[int] = []

    def current() -> list[str]:
        asked.append(1)
        return ["first-token"]

    secrets = OwnSecrets(current)
    assert secrets() is secrets() is secrets.known
    assert len(asked) == 2


def test_old_tokens_are_forgotten_at_last() -> None:
    """An agent lives for years."""
    tokens = iter(range(SECRETS_MAX + 1))
    secrets = OwnSecrets(lambda: [f"token-{next(tokens):05}"])
    for _ in range(SECRETS_MAX + 1):
        secrets()
    assert secrets.known.text("token-00000") == "token-00000"
    assert secrets.known.text("token-00001") == REDACTED
