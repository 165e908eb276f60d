"""What holds for all tests."""

import gc

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


def pytest_collection_finish() -> None:
    """What is imported stays, so collections need not look through it again and again."""
    gc.collect()
    gc.freeze()
