"""What the last scan read, kept over restarts: a file that has not changed is not read again."""

import hashlib
import itertools
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog

from generation import (
    diffusers_folder,
    families,
    florence2,
    gguf_header,
    gguf_names,
    model_folders,
    model_probe,
    model_reader,
    model_settings,
    models,
    onnx_header,
    quantisation,
    safetensors_header,
    side_notes,
    tag_lists,
    vae_marks,
)
from generation.model_reader import Reading
from generation.regular_files import read_regular

log = structlog.get_logger(__name__)

ENTRIES_MAX: Final = 100_000
BYTES_MAX: Final = 100 * 2**20
DIGEST_BYTES: Final = 32
"""At the beginning of the file: a disk's fault in a name must not pass for one."""
READERS: Final = (
    *(diffusers_folder, families, florence2, gguf_header, gguf_names, model_folders, model_probe),
    *(model_reader, model_settings, models, onnx_header, quantisation, safetensors_header),
    *(side_notes, tag_lists, vae_marks),
)
"""Modules that decide what is made of a file: what an older one made of it does not count. Of a
package all its files do."""

Readings = dict[str, tuple[str, Reading]]
"""By path: the mark that the file had, and what was found in it."""


class _Kept(msgspec.Struct):
    version: str
    readings: dict[str, tuple[str, Reading]]


class CatalogCache:
    """One file, written whole or not at all. It may be deleted at any time."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._failed = False

    def load(self) -> Readings:
        """What was kept; nothing where the file is missing, broken or of another version."""
        if self._file is None:
            return {}
        try:
            content = read_regular(self._file, BYTES_MAX)
            if _digest(content[DIGEST_BYTES:]) != content[:DIGEST_BYTES]:
                raise ValueError("the file is damaged")
            kept = _DECODER.decode(content[DIGEST_BYTES:])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
            log.warning("what is known of the models is read anew", error=str(error)[:200])
            return {}
        return kept.readings if kept.version == _version() else {}

    def save(self, readings: Mapping[str, tuple[str, Reading]]) -> None:
        """Keep these. A disk that takes nothing is told of once."""
        if self._file is None:
            return
        kept = dict(itertools.islice(readings.items(), ENTRIES_MAX))
        beside = self._file.with_name(f"{self._file.name}.{os.getpid()}.part")
        try:
            content = msgspec.msgpack.encode(_Kept(_version(), kept), enc_hook=_path_text)
            self._file.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(_digest(content) + content)
            beside.replace(self._file)
            self._failed = False
        except (OSError, msgspec.MsgspecError, ValueError) as error:
            if not self._failed:
                log.warning("what is known of the models can't be kept", error=str(error)[:200])
            self._failed = True
            try:
                beside.unlink(missing_ok=True)
            except OSError:
                return


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def _version() -> str:
    """Of the code that reads models, and of what it runs on."""
    digest = hashlib.sha256(sys.version.encode())
    for module in READERS:
        file = Path(str(module.__file__))
        files = sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
        for one in files:
            digest.update(one.read_bytes())
    return digest.hexdigest()


def _path_text(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(type(value))


def _rich(type_: type, value: object) -> object:
    if type_ is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"a path is a text and no {type(value).__name__}")


_DECODER: Final = msgspec.msgpack.Decoder(_Kept, dec_hook=_rich)
