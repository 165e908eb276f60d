"""Whether a picture that was made again could be the same: what has changed since."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from generation.job import Job, Provenance
from generation.metadata import TENSORS
from generation.numerics import Numerics

What = Literal[
    "file",
    "file_gone",
    "file_new",
    "library",
    "device",
    "threads",
    "batch_size",
    "precision",
    "vae_precision",
    "frugal",
    "memory",
    "compiled",
    "channels_last",
]
NUMERICS: Final[tuple[What, ...]] = (
    "device",
    "threads",
    "batch_size",
    "precision",
    "vae_precision",
    "frugal",
    "memory",
    "compiled",
    "channels_last",
)
"""Fields of Numerics, in the order in which they are named."""


class Change(msgspec.Struct, frozen=True):
    """A file (`checkpoint:demo`), library, device or way to compute that is another than it was."""

    what: What
    name: str
    before: str
    now: str


def same_pictures(first: Job, second: Job) -> bool:
    """Whether both jobs made the same pictures, to the last bit; or saw the same in one."""

    def pixels(job: Job) -> list[str]:
        return [picture.pixels_sha256 for picture in job.pictures]

    if first.description is not None:
        return first.description == second.description
    return bool(first.pictures) and pixels(first) == pixels(second)


def changes(before: Provenance, now: Provenance) -> list[Change]:
    """What the two were made with differs in: files first, then libraries, then the device and how
    it computed.
    """
    found = [
        *map(_gone_or_new, _differing("file", _files(before), _files(now))),
        *_differing("library", before.versions, now.versions),
    ]
    if before.numerics is not None and now.numerics is not None:
        found += _otherwise_computed(before.numerics, now.numerics)
    elif before.device != now.device:
        found.append(Change("device", now.device, before.device, now.device))
    return found


def _files(provenance: Provenance) -> dict[str, str]:
    """Hashes of whole files; those of weights alone are for other programs."""
    return {k: v for k, v in provenance.hashes.items() if not k.startswith(f"{TENSORS}:")}


def _gone_or_new(change: Change) -> Change:
    """A file that only one of the two was made with, such as a part of a model."""
    if change.before and change.now:
        return change
    what: What = "file_gone" if change.before else "file_new"
    return msgspec.structs.replace(change, what=what)


def _otherwise_computed(before: Numerics, now: Numerics) -> list[Change]:
    if before.device != now.device:
        # how many threads each has says nothing more
        now = msgspec.structs.replace(now, threads=before.threads)
    pairs = [(what, str(getattr(before, what)), str(getattr(now, what))) for what in NUMERICS]
    return [Change(what, new, old, new) for what, old, new in pairs if old != new]


def _differing(
    what: Literal["file", "library"], before: Mapping[str, str], now: Mapping[str, str]
) -> list[Change]:
    return [
        Change(what, name, before.get(name, ""), now.get(name, ""))
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
