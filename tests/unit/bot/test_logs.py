"""Log lines say what happened, and nothing that must stay secret."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from bot.config import LogSettings
from bot.logs import configure_logging


@pytest.fixture
def restored() -> Iterator[None]:
    """The root logger as it was."""
    root, configured = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    quiet = {n: logging.getLogger(n).level for n in ("discord", "alembic", "aiosqlite", "asyncio")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, was in quiet.items():
        logging.getLogger(name).setLevel(was)
    structlog.configure(**configured)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("json", [False, True])
@pytest.mark.parametrize("library", [False, True])
def test_an_error_shows_its_traceback_and_no_variable(
    capsys: pytest.CaptureFixture[str], *, json: bool, library: bool
) -> None:
    configure_logging(LogSettings(json=json))

    def send(token: str) -> None:
        raise ConnectionError(f"no answer after {len(token)} bytes")

    try:
        send("-".join(("my", "secret", "token")))
    except ConnectionError:
        if library:
            logging.getLogger("a.library").exception("it failed")
        else:
            structlog.get_logger("a.test").exception("it failed")
    written = capsys.readouterr().err
    assert "no answer after 15 bytes" in written
    assert "test_logs.py" in written
    assert "my-secret-token" not in written


def test_discord_s_noise_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings())
    library = logging.getLogger("discord.client")
    library.warning("PyNaCl is not installed, voice will NOT be supported")
    try:
        raise OSError("the network is down")
    except OSError:
        library.exception("Attempting a reconnect in %.2fs", 1.5)
    library.warning("Something else")
    written = capsys.readouterr().err
    assert "voice" not in written
    assert "Attempting a reconnect in 1.50s" in written
    assert "Traceback" not in written
    assert "Something else" in written
