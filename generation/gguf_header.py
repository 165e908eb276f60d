"""What a GGUF file says of itself, read without loading a single weight.

A reader of our own, because those of llama.cpp map the whole file, make objects of every word of a
vocabulary, trust the counts and take shapes of any size; here all of it is bounded.

Source: docs/gguf.md of ggml. `comfy.gguf.orig_shape.NAME` is city96's, for tensors whose sides had
to be joined to be quantised.
"""

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import msgspec

from generation.gguf_names import plain_names
from generation.regular_files import open_regular, printable, read_up_to
from generation.safetensors_header import HeaderError, check_end, refuse_other_kinds

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
HEADER_MAX: Final = 32 * 2**20
"""Bytes; the vocabularies of language models take up to some 15 million."""
READ_AT_ONCE: Final = 2**18
KEYS_MAX: Final = 2**16
TENSORS_MAX: Final = 2**16
WORDS_MAX: Final = 2**20
"""Texts of a list, such as a vocabulary."""
NAME_MAX: Final = 2**10
"""Bytes of a name; ggml itself takes 64."""
SAID_MAX: Final = 2**12
"""Bytes of a text that is kept; longer ones, such as templates for chats, are passed over."""
SIDES_MAX: Final = 6
"""Of a tensor; ggml itself takes four."""
ORIGINAL_SHAPE: Final = "comfy.gguf.orig_shape."
ALIGNMENT: Final = 32
CUT_OFF: Final = "its header is cut off"


class BlockPacking(NamedTuple):
    """A type of ggml: so many values lie in a block of so many bytes."""

    name: str
    values: int
    size: int


TYPES: Final[Mapping[int, BlockPacking]] = {
    0: BlockPacking("F32", 1, 4),
    1: BlockPacking("F16", 1, 2),
    2: BlockPacking("Q4_0", 32, 18),
    3: BlockPacking("Q4_1", 32, 20),
    6: BlockPacking("Q5_0", 32, 22),
    7: BlockPacking("Q5_1", 32, 24),
    8: BlockPacking("Q8_0", 32, 34),
    10: BlockPacking("Q2_K", 256, 84),
    11: BlockPacking("Q3_K", 256, 110),
    12: BlockPacking("Q4_K", 256, 144),
    13: BlockPacking("Q5_K", 256, 176),
    14: BlockPacking("Q6_K", 256, 210),
    16: BlockPacking("IQ2_XXS", 256, 66),
    17: BlockPacking("IQ2_XS", 256, 74),
    18: BlockPacking("IQ3_XXS", 256, 98),
    19: BlockPacking("IQ1_S", 256, 50),
    20: BlockPacking("IQ4_NL", 32, 18),
    21: BlockPacking("IQ3_S", 256, 110),
    22: BlockPacking("IQ2_S", 256, 82),
    23: BlockPacking("IQ4_XS", 256, 136),
    24: BlockPacking("I8", 1, 1),
    25: BlockPacking("I16", 1, 2),
    26: BlockPacking("I32", 1, 4),
    27: BlockPacking("I64", 1, 8),
    28: BlockPacking("F64", 1, 8),
    29: BlockPacking("IQ1_M", 256, 56),
    30: BlockPacking("BF16", 1, 2),
    34: BlockPacking("TQ1_0", 256, 54),
    35: BlockPacking("TQ2_0", 256, 66),
    39: BlockPacking("MXFP4", 32, 17),
}
"""Those that can be read, by number."""

_SIZES: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of what keys can have, by type."""
_INT32: Final = 5
_UINT32: Final = 4
_TEXT: Final = 8
_LIST: Final = 9


class GgufTensor(msgspec.Struct, frozen=True, gc=False):
    """Where a tensor lies and what it is made of."""

    packing: BlockPacking
    shape: tuple[int, ...]
    """As torch has it, the sides of rows last."""
    begin: int
    """Bytes from the beginning of the file."""
    size: int
    """Bytes."""


class GgufHeader(msgspec.Struct, frozen=True):
    """Tensors by the names that they have in safetensors files, and the texts among the keys."""

    tensors: Mapping[str, GgufTensor]
    metadata: Mapping[str, str]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of all tensors."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    @property
    def architecture(self) -> str:
        """What its author calls it: flux, t5encoder, llama, …; "" where nothing is said."""
        return self.metadata.get("general.architecture", "")

    @property
    def main_packing(self) -> str:
        """The name of the type that most bytes have, of those that are quantised where any are."""
        totals: dict[BlockPacking, int] = {}
        for tensor in self.tensors.values():
            totals[tensor.packing] = totals.get(tensor.packing, 0) + tensor.size
        return max(totals, key=lambda packing: (packing.values > 1, totals[packing])).name


def read_gguf(path: Path) -> GgufHeader:
    """Read the header. Raises HeaderError, and OSError as files raise it."""
    with open_regular(path) as file:
        size = path.stat().st_size
        start = read_up_to(file, 16)
        if not start.startswith(MAGIC):
            refuse_other_kinds(start, size, but=MAGIC)
            raise HeaderError("model_broken", "it does not begin as a GGUF file does")
        cursor = _Cursor(file, start)
        cursor.pass_over(len(MAGIC))
        _check_version(cursor.number(4))
        tensors, keys = cursor.number(8), cursor.number(8)
        for count, most, what in ((tensors, TENSORS_MAX, "tensors"), (keys, KEYS_MAX, "keys")):
            if count > most:
                why = f"it says that it has {count} {what}, and no model has over {most}"
                raise HeaderError("model_broken", why)
        if not tensors:
            raise HeaderError("model_broken", "it has no tensors")
        said = _Said()
        for _ in range(keys):
            said.read_key(cursor)
        said.check()
        entries = [_entry(cursor, said) for _ in range(tensors)]
        begin = -(-cursor.place // said.alignment) * said.alignment
    end = _check_places(entries, said.alignment)
    if begin > size:
        raise HeaderError("model_broken", CUT_OFF)
    # the last tensor may be filled up as all others are
    padded = -(-end // said.alignment) * said.alignment
    check_end(padded if size - begin == padded else end, size - begin)
    named = {
        entry.name: GgufTensor(entry.packing, entry.shape, begin + entry.offset, entry.size)
        for entry in entries
    }
    if len(named) < len(entries):
        raise HeaderError("model_broken", "two tensors have one name")
    return GgufHeader(plain_names(said.texts.get("general.architecture", ""), named), said.texts)


class _TensorEntry(NamedTuple):
    name: str
    packing: BlockPacking
    shape: tuple[int, ...]
    offset: int
    size: int


class _Cursor:
    """Reads on as far as it is asked to, up to HEADER_MAX."""

    def __init__(self, file: BinaryIO, start: bytes) -> None:
        self._file = file
        self._read = bytearray(start)
        self.place = 0

    def take(self, count: int) -> bytes:
        """The next bytes. Raises HeaderError where there are not so many."""
        self._reach(count)
        self.place += count
        return bytes(self._read[self.place - count : self.place])

    def pass_over(self, count: int) -> None:
        """Go on behind the next bytes."""
        self._reach(count)
        self.place += count

    def number(self, size: int) -> int:
        """The next unsigned number of so many bytes."""
        return int.from_bytes(self.take(size), "little")

    def text(self, most: int) -> str | None:
        """The next text; None for a longer one, which is passed over."""
        length = self.number(8)
        if length > most:
            self.pass_over(length)
            return None
        try:
            return self.take(length).decode()
        except UnicodeDecodeError:
            raise HeaderError("model_broken", "a text of its header is no text") from None

    def _reach(self, count: int) -> None:
        end = self.place + count
        if end > HEADER_MAX:
            why = f"its header has over {HEADER_MAX} bytes, and no model's has"
            raise HeaderError("model_broken", why)
        while len(self._read) < end:
            more = read_up_to(self._file, max(end - len(self._read), READ_AT_ONCE))
            if not more:
                raise HeaderError("model_broken", CUT_OFF)
            self._read += more


class _Said:
    """What the keys say, as far as it matters."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.original_shapes: dict[str, tuple[int, ...]] = {}
        self.alignment = ALIGNMENT
        self.pieces = 1

    def read_key(self, cursor: _Cursor) -> None:
        key = cursor.text(NAME_MAX)
        kind = cursor.number(4)
        if kind == _TEXT:
            value = cursor.text(SAID_MAX)
            if key is not None and value is not None:
                self.texts[key] = value
        elif kind == _LIST:
            self._read_list(cursor, key or "")
        elif kind in _SIZES:
            number = cursor.number(_SIZES[kind])
            if key == "general.alignment":
                self.alignment = number if kind == _UINT32 else 0
            elif key == "split.count":
                self.pieces = number
        else:
            raise HeaderError("model_broken", f"a key of its header has the unknown type {kind}")

    def _read_list(self, cursor: _Cursor, key: str) -> None:
        kind, count = cursor.number(4), cursor.number(8)
        if kind == _TEXT:
            if count > WORDS_MAX:
                raise HeaderError("model_broken", f"a list of its header has {count} texts")
            for _ in range(count):
                cursor.pass_over(cursor.number(8))
        elif kind not in _SIZES:
            raise HeaderError("model_broken", f"a list of its header has the unknown type {kind}")
        elif key.startswith(ORIGINAL_SHAPE) and kind == _INT32 and count <= SIDES_MAX:
            sides = struct.unpack(f"<{count}i", cursor.take(4 * count))
            self.original_shapes[key.removeprefix(ORIGINAL_SHAPE)] = sides
        else:
            cursor.pass_over(_SIZES[kind] * count)

    def check(self) -> None:
        if self.pieces > 1:
            why = (
                f"it is one of {self.pieces} pieces, which have to be joined first: "
                "llama-gguf-split --merge"
            )
            raise HeaderError("model_broken", why)
        if not 0 < self.alignment <= 2**16 or self.alignment & (self.alignment - 1):
            raise HeaderError("model_broken", "its alignment is no power of two")


def _check_version(version: int) -> None:
    if version in VERSIONS:
        return
    if version & 0xFFFF == 0:
        raise HeaderError("model_broken", "it is written for processors of the other byte order")
    known = " and ".join(map(str, VERSIONS))
    why = f"it is GGUF of version {version}, and {known} are read: convert the model anew"
    raise HeaderError("model_broken", why)


def _entry(cursor: _Cursor, said: _Said) -> _TensorEntry:
    name = cursor.text(NAME_MAX)
    if name is None:
        raise HeaderError("model_broken", f"the name of a tensor has over {NAME_MAX} bytes")
    count = cursor.number(4)
    if count > SIDES_MAX:
        raise HeaderError("model_broken", f"a tensor has {count} sides")
    sides = tuple(cursor.number(8) for _ in range(count))
    number = cursor.number(4)
    offset = cursor.number(8)
    packing = TYPES.get(number)
    if packing is None:
        why = f"{printable(name)[:100]} is of the type {number}, which nothing here reads"
        raise HeaderError("model_broken", why)
    total = math.prod(sides)
    row = sides[0] if sides else 1
    if row % packing.values:
        why = f"the rows of {printable(name)[:100]} are no whole blocks of {packing.name}"
        raise HeaderError("model_broken", why)
    shape = said.original_shapes.get(name, sides[::-1])
    if min(shape, default=1) < 0 or math.prod(shape) != total:
        why = f"{printable(name)[:100]} has another size than its own shape"
        raise HeaderError("model_broken", why)
    return _TensorEntry(name, packing, shape, offset, total // packing.values * packing.size)


def _check_places(entries: list[_TensorEntry], alignment: int) -> int:
    """How many bytes the tensors take. Raises HeaderError where they overlap."""
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.offset):
        if entry.offset < end or entry.offset % alignment:
            raise HeaderError("model_broken", "its tensors do not lie one behind the other")
        end = entry.offset + entry.size
    return end
