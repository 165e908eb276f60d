"""What a safetensors file says of itself, read without loading a single weight."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

HEADER_MAX: Final = 100 * 2**20
"""The bound that the safetensors format itself sets."""
LFS_POINTER: Final = b"version https://git-lfs"


class HeaderError(Exception):
    """The file is no whole safetensors file; `code` names a sentence of `bot/locales/`."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


class Header(msgspec.Struct, frozen=True):
    """Shapes by tensor name, and the metadata, both as the file's author wrote them."""

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]


def read_header(path: Path) -> Header:
    """Read the header: eight bytes of length, little-endian, then JSON. Raises HeaderError.

    Source: the safetensors format description. A file that was cut off while it was copied is
    found by the offsets of its last tensor.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if start == LFS_POINTER[: len(start)] and 0 < size < 1000:
            raise HeaderError("model_lfs_pointer", "a git-lfs pointer")
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > min(HEADER_MAX, size - 8):
            raise HeaderError("model_broken", "its header is cut off")
        text = file.read(length)
    try:
        entries: dict[str, Any] = json.loads(text)
        metadata = entries.pop("__metadata__", None)
        shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
        end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise HeaderError("model_broken", "its header is no JSON of tensors") from error
    if not shapes:
        raise HeaderError("model_broken", "it has no tensors")
    if 8 + length + end > size:
        raise HeaderError("model_broken", f"{8 + length + end - size} bytes are missing at its end")
    return Header(shapes, _texts(metadata))


def _texts(metadata: object) -> dict[str, str]:
    """The format knows texts only; some tools write numbers, lists and nulls."""
    if not isinstance(metadata, dict):
        return {}
    return {key: value for key, value in metadata.items() if isinstance(value, str)}
