"""Which of the files here another program means by a hash.

Ten digits or more are the beginning of a file's SHA-256 (Civitai's AutoV2) or, of a LoRA, that of
its weights without the header (AutoV3, which A1111 cuts to twelve); eight are of A1111 before 1.0,
which hashed a part of the file; SwarmUI writes `0x` before its own.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from generation.kept_file import KeptFile
from generation.models import ModelFile, ModelKind

DIGITS: Final = re.compile(r"(?:0x)?([0-9a-f]{8,64})")
OLD_AT, OLD_BYTES = 0x100000, 0x10000
"""Where the part begins that A1111 once hashed, and its length."""
OLD_DIGITS: Final = 8
READ_MAX: Final = 2**30
"""Bytes of files that are hashed to find one; a large checkpoint is known once it has drawn."""
CHUNK: Final = 2**20


class FileHashes:
    """The hashes that are known of model files: `cache` is the folder where the worker keeps those
    of what it has loaded; of others what Civitai's notes beside them say. Blocks.
    """

    def __init__(self, cache: Path) -> None:
        self._file = cache / "hashes.json"
        self._read_at = 0
        self._known: Mapping[str, object] = {}
        self._made: dict[str, str] = {}

    def known(self, digits: str, models: Iterable[ModelFile]) -> ModelFile | None:
        """The one of these whose hash is known to begin so; few bytes are read for it."""
        found = DIGITS.fullmatch(digits.strip().casefold())
        if found is None:
            return None
        models = list(models)
        if len(found[1]) == OLD_DIGITS:
            return next((one for one in models if _old(one.path) == found[1]), None)
        self._load()
        sure = next((one for one in models if self._is(one, found[1])), None)
        return sure or next((one for one in models if self._noted(one, found[1])), None)

    def searched(self, digits: str, models: Iterable[ModelFile]) -> ModelFile | None:
        """The same, and files are hashed for it that nobody has hashed yet, the small ones first,
        until READ_MAX bytes were read.
        """
        found = DIGITS.fullmatch(digits.strip().casefold())
        if found is None or len(found[1]) == OLD_DIGITS:
            return None
        room = READ_MAX
        for one in sorted(models, key=lambda one: one.size):
            room -= one.size
            if room < 0:
                return None
            if one.path.is_file() and self._hashed(one, found[1]):
                return one
        return None

    def of(self, one: ModelFile, *, tensors: bool = False) -> str:
        """The SHA-256 of a file, or of a LoRA's weights alone, hashed where nobody has hashed it
        yet; "" where it can't be read.
        """
        self._load()
        keys = _keys(one)[int(tensors) :][:1]
        for key in keys:
            known = self._known.get(key) or self._made.get(key)
            if not known:
                known = self._made[key] = _hash(one.path, tensors=tensors)
            return str(known)
        return ""

    def _load(self) -> None:
        try:
            changed = self._file.stat().st_mtime_ns
        except OSError:
            return
        if changed != self._read_at:
            self._known, self._read_at = KeptFile(self._file).found, changed

    def _is(self, one: ModelFile, digits: str) -> bool:
        keys = _keys(one)
        said = (self._known.get(key, self._made.get(key)) for key in keys)
        return any(isinstance(each, str) and each.startswith(digits) for each in said)

    def _noted(self, one: ModelFile, digits: str) -> bool:
        """Whether a note beside a file says so that nobody has hashed here yet."""
        keys = _keys(one)
        if not keys or keys[0] in self._known or keys[0] in self._made:
            return False
        return any(each.startswith(digits) for each in one.hashes)

    def _hashed(self, one: ModelFile, digits: str) -> bool:
        for key in _keys(one):
            if key not in self._made:
                self._made[key] = _hash(one.path, tensors=key.endswith("|tensors"))
            if self._made[key].startswith(digits):
                return True
        return False


def _keys(one: ModelFile) -> list[str]:
    """What the worker keeps its hashes by."""
    try:
        stat = one.path.stat()
        whole = f"{one.path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    except OSError:
        return []
    weights = one.kind in (ModelKind.LORA, ModelKind.CHECKPOINT)
    return [whole, f"{whole}|tensors"] if weights else [whole]


def _hash(path: Path, *, tensors: bool) -> str:
    try:
        with path.open("rb") as file:
            if tensors:
                file.seek(8 + int.from_bytes(file.read(8), "little"))
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, OverflowError, ValueError):
        return ""


def _old(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(OLD_AT)
            return hashlib.sha256(file.read(OLD_BYTES)).hexdigest()[:OLD_DIGITS]
    except OSError:
        return ""
