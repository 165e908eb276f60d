"""What holds for all tests."""

import gc
import sys

import structlog

# jsonschema takes it where it is there: a grammar of addresses, for formats that nobody here
# checks, which takes seconds to build in each process of the tests
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

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
