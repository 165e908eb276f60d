"""What arguments of the command line must be, whichever command has them."""

import argparse
from pathlib import Path


def folder(text: str) -> Path:
    """What a shell makes of an unset variable names no folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("name a folder")
    return Path(text)


def name(text: str) -> str:
    """Nor does it name a model."""
    if not text.strip():
        raise argparse.ArgumentTypeError("name a model")
    return text
