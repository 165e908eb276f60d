"""What a safetensors file says of itself, read without loading a single weight."""

import re
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import msgspec

from generation.regular_files import open_regular, read_up_to

HEADER_MAX: Final = 25 * 10**6
"""Bytes, as the Hugging Face hub has it; the headers of real models have up to a few million."""
LFS_POINTER: Final = b"version https://git-lfs"
LFS_POINTER_MAX: Final = 1000
"""Bytes of a file that only says where git-lfs keeps the model."""
PAGE_MARKS: Final = (b"<!doctype", b"<html", b"<?xml", b'{"error', b'{"message', b"{'error")
"""How a page or an answer begins that was saved in the place of a model, in lower case."""
MAGIC: Final = (
    (b"PK\x03\x04", "a zip archive, or a checkpoint of torch (.ckpt)"),
    (b"\x80\x02", "a checkpoint of torch (.ckpt)"),
    (b"\x80\x04", "a checkpoint of torch (.ckpt)"),
    (b"GGUF", "a GGUF file"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"RIFF", "a picture or a sound"),
    (b"Rar!", "an archive"),
    (b"7z\xbc\xaf", "an archive"),
    (b"\x1f\x8b", "an archive"),
)
"""How other files begin that were given a model's name."""
TEXT_MIN: Final = 16
"""Signs at the beginning that are a text: no header is as long as they would say."""
WRITTEN_OTHERWISE: Final = "its header is no JSON of tensors"


class HeaderError(Exception):
    """The file is no whole safetensors file; `code` names a sentence of `bot/locales/`."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


class Header(msgspec.Struct, frozen=True):
    """Shapes by tensor name, and the metadata, both as the file's author wrote them."""

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]


class HeaderText(msgspec.Struct, frozen=True):
    """A header whose tensors are not decoded yet: files of one layout have the same text."""

    tensors: bytes
    """JSON without what the metadata says."""
    metadata: Mapping[str, str]
    weights: int
    """Bytes of the file behind its header."""


class Tensors(msgspec.Struct, frozen=True):
    """What the tensors' text says."""

    shapes: Mapping[str, tuple[int, ...]]
    end: int
    """Bytes that the weights take."""
    kinds: Mapping[str, str]
    """The type of each, as the format calls it: F16, F8_E4M3, …"""


def check_end(end: int, weights: int) -> None:
    """Raise HeaderError where a file has more or fewer bytes of weights than its header says."""
    if end > weights:
        raise HeaderError("model_broken", f"{end - weights} bytes are missing at its end")
    if end < weights:
        raise HeaderError("model_broken", f"it goes on for {weights - end} bytes too many")


class _Tensor(msgspec.Struct, gc=False):
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]
    dtype: str = ""


class _Metadata(msgspec.Struct):
    raw: msgspec.Raw = msgspec.field(default=msgspec.Raw(b""), name="__metadata__")


_METADATA_FIRST: Final = re.compile(
    rb'\s*\{\s*"__metadata__"\s*:\s*'
    rb'(\{(?:[^"{}]|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+\})\s*[,}]',
    re.DOTALL,
)
"""Texts and numbers by name, at the beginning: as all tools write them."""
_METADATA: Final = msgspec.json.Decoder(_Metadata)
_ANYTHING: Final = msgspec.json.Decoder(dict[str, Any])
_TENSORS: Final = msgspec.json.Decoder(dict[str, _Tensor | None])


def read_header(path: Path) -> Header:
    """Read the header: eight bytes of length, little-endian, then JSON. Raises HeaderError.

    Source: the safetensors format description. A file that was cut off while it was copied is
    found by the offsets of its last tensor.
    """
    text = read_text(path)
    tensors = decode(text.tensors)
    check_end(tensors.end, text.weights)
    return Header(tensors.shapes, text.metadata)


def read_text(path: Path) -> HeaderText:
    """The header with its metadata apart. Raises HeaderError, and OSError as files raise it."""
    with open_regular(path) as file:
        size = path.stat().st_size
        start = read_up_to(file, min(size, 8))
        if start == LFS_POINTER[: len(start)] and 0 < size < LFS_POINTER_MAX:
            raise HeaderError("model_lfs_pointer", "a git-lfs pointer")
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > size - 8:
            refuse_other_kinds(start + read_up_to(file, 8), size)
            raise HeaderError("model_broken", "its header is cut off")
        if length > HEADER_MAX:
            why = f"its header has {length} bytes and no model's has over {HEADER_MAX}"
            raise HeaderError("model_broken", why)
        raw = read_up_to(file, length)
    if len(raw) < length:  # it shrank while it was read
        raise HeaderError("model_broken", "its header is cut off")
    try:
        first = _METADATA_FIRST.match(raw)
        said = first[1] if first else bytes(_METADATA.decode(raw).raw)
        metadata = _texts(_ANYTHING.decode(said)) if said.startswith(b"{") else {}
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise HeaderError("model_broken", WRITTEN_OTHERWISE) from error
    tensors = raw.replace(said, b"null", 1) if said else raw
    return HeaderText(tensors, metadata, size - 8 - length)


def refuse_other_kinds(head: bytes, size: int, but: bytes = b"") -> None:
    """Raise HeaderError for a file of another kind that was given a model's name.

    `head` is how the file of so many bytes begins, and `but` how it should.
    """
    if head.startswith(LFS_POINTER[:8]) and size < LFS_POINTER_MAX:
        raise HeaderError("model_lfs_pointer", "a git-lfs pointer")
    for begin, what in MAGIC:
        if begin != but and head.startswith(begin):
            raise HeaderError("model_misnamed", what)
    if head.lstrip().lower().startswith(PAGE_MARKS) or _is_text(head):
        raise HeaderError("model_page", "a page")


def _is_text(head: bytes) -> bool:
    return len(head) >= TEXT_MIN and head.isascii() and head.decode().strip().isprintable()


def decode(text: bytes) -> Tensors:
    """The tensors of a header's text. Raises HeaderError for what no reader would take."""
    try:
        entries = _TENSORS.decode(text)
        entries.pop("__metadata__", None)
        if not entries:
            raise HeaderError("model_broken", "it has no tensors")
        begins, ends = zip(*map(attrgetter("data_offsets"), entries.values()), strict=True)
        shapes = dict(zip(entries, map(attrgetter("shape"), entries.values()), strict=True))
        kinds = dict(zip(entries, map(attrgetter("dtype"), entries.values()), strict=True))
    except (msgspec.MsgspecError, ValueError, AttributeError, RecursionError) as error:
        raise HeaderError("model_broken", WRITTEN_OTHERWISE) from error
    if b"-" in text and any(side < 0 for shape in shapes.values() for side in shape):
        raise HeaderError("model_broken", "a tensor has a negative size")
    end = max(ends)
    # the format allows no holes: what is there twice, or overlaps, does not add up
    if min(begins) < 0 or sum(ends) - sum(begins) != end:
        raise HeaderError("model_broken", "its tensors do not lie one behind the other")
    return Tensors(shapes, end, kinds)


def places(text: bytes) -> dict[str, tuple[int, int]]:
    """Where each tensor of a text that `decode` takes begins and ends, in the weights' bytes."""
    entries = _TENSORS.decode(text)
    return {name: tensor.data_offsets for name, tensor in entries.items() if tensor is not None}


def _texts(metadata: Mapping[str, object]) -> dict[str, str]:
    """The format knows texts only; some tools write numbers, lists and nulls."""
    return {key: value for key, value in metadata.items() if isinstance(value, str)}
