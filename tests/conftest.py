"""What holds for all tests."""

import structlog

# structlog's usual traceback prints every variable, which takes gigabytes for some of ours
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        ),
    ]
)
