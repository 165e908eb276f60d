"""`python -m generation.runtime`: takes messages on standard input, answers on standard output."""

import contextlib
import ctypes
import logging
import os
import signal
import sys
import time
import traceback
from typing import BinaryIO, Final

import structlog

from generation.runtime.pipe import End, Inbox, Outbox

GRACE: Final = 5.0
"""Seconds that a job in hand has to notice that the parent is done or gone."""
PR_SET_PDEATHSIG: Final = 1
"""Of Linux's <sys/prctl.h>."""


def claim_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipe to the parent, kept from everything else: whatever a library prints goes to stderr.

    To be called before anything that could print is imported.
    """
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(0, os.O_BINARY)
        msvcrt.setmode(1, os.O_BINARY)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return sys.stdin.buffer, answers


def forbid_network() -> None:
    """Models are files on this machine; no library may look for newer ones elsewhere."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "DIFFUSERS_OFFLINE"):
        os.environ[name] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def share_processor() -> None:
    """Have torch's threads sleep while they wait for each other.

    They spin by default, and wherever another program wants a core too, a step on the processor
    then takes four times as long.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def leave_signals_to_parent() -> None:
    """Ctrl-C in a terminal, and the end of a service, reach every process of it: what becomes of
    the job in hand is for the parent to say. With its pipe closed this process ends anyway.
    """
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def die_with_parent() -> None:
    """Where the system can: a thread that reads the pipe sees nothing while a library holds on to
    the interpreter.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def leave(end: End, worked: bool) -> None:
    """Called when the pipe closes. Nobody may be left who could end a process that loads or
    computes for minutes.
    """
    if worked and end in (End.STOPPED, End.ALONE):
        time.sleep(GRACE)
    os._exit(end)


def main() -> None:
    """Serve until the parent is done or gone."""
    messages, answers = claim_pipes()
    leave_signals_to_parent()
    die_with_parent()
    forbid_network()
    share_processor()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.LogfmtRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    # torch takes long to import: a parent that is gone by then must be noticed
    inbox, outbox = Inbox(messages, leave), Outbox(answers)
    status = 1
    try:
        from generation.runtime.server import serve

        status = serve(inbox, outbox)
    except Exception:  # noqa: BLE001 - the parent reads of it, and starts another process
        traceback.print_exc()
    finally:
        # threads that still read files would hold up an end in order
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        # for a bot on another machine: this process draws nothing itself
        from generation.hosting.command import main as serve_over_nats

        sys.exit(serve_over_nats(sys.argv[1:]))
    main()
