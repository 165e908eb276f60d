"""Model files on slow disks are read from their beginning to their end before they are mapped.

A mapped file is read where its tensors are touched, a few pages at a time, which takes a hard disk
or a network drive minutes; read in one go it comes as quickly as the disk can, and is mapped from
the system's cache then.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil
import structlog

from generation.models import ModelFile
from generation.regular_files import open_regular

log = structlog.get_logger(__name__)

SAMPLE: Final = 32 * 2**20
"""Bytes by which a disk is measured."""
CHUNK: Final = 4 * 2**20
SLOW: Final = 400e6
"""Bytes a second below which it counts as slow: hard disks and networks, no flash."""


def read_ahead(model: ModelFile, *, always: bool) -> None:
    """Bring a model's files into the system's cache, where their disk is slow or it is to be so
    `always`; not where main memory has no room for them. What can't be read is left to the loader.
    """
    for file in _files(model):
        try:
            if file.stat().st_size < psutil.virtual_memory().available:
                _read(file, always=always)
        except OSError:
            return


def _files(model: ModelFile) -> Iterator[Path]:
    for one in model.files:
        if one.path.is_dir():
            yield from sorted(one.path.rglob("*.safetensors"))
        else:
            yield one.path


def _read(file: Path, *, always: bool) -> None:
    begun, done = time.monotonic(), 0
    with open_regular(file) as opened:
        while count := len(opened.read(CHUNK)):
            done += count
            enough = SAMPLE <= done < SAMPLE + CHUNK
            if enough and not always and done >= SLOW * (time.monotonic() - begun):
                return
    if done >= SAMPLE:
        speed = done / max(time.monotonic() - begun, 1e-9) / 1e6
        log.info("read in one go", file=file.name, megabytes_a_second=round(speed))
