"""`python -m generation.runtime`: takes messages on standard input, answers on standard output."""

import os
import sys
from typing import BinaryIO


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


if __name__ == "__main__":
    messages, answers = claim_pipes()
    forbid_network()
    share_processor()
    from generation.runtime.server import serve

    serve(messages, answers)
