"""Where log lines go: to stderr, for people or for collectors."""

import logging
import sys
from typing import Any

import structlog

from bot.config import LogSettings


def configure_logging(settings: LogSettings) -> None:
    """Have structlog and the standard library's logging write alike."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
        if not settings.json
        else structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # the usual one prints every local variable, tokens and prompts among them
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    last = [structlog.processors.format_exc_info, renderer] if settings.json else [renderer]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    handler.addFilter(_sobered)
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    # discord.py tells of every gateway event, alembic of every start
    for name in ("discord", "alembic", "aiosqlite", "asyncio"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _sobered(record: logging.LogRecord) -> bool:
    """Without what discord.py says of voice, which the bot has no use for; and a line, not a
    traceback, for each try of its to come back.
    """
    if record.name == "discord.client":
        if "voice will NOT be supported" in record.getMessage():
            return False
        if record.msg.startswith("Attempting a reconnect"):
            record.levelno, record.levelname, record.exc_info = logging.WARNING, "WARNING", None
    return True
