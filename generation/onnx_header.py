"""What an ONNX file says of itself, read without loading a single weight.

A reader of our own of protobuf's wire format: the library makes objects of the whole file, weights
and all, and trusts its counts; here weights and layers are passed over, and all else is bounded.

Source: onnx.proto of ONNX, whose field numbers stand below, and protobuf's description of its wire
format.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

import msgspec

from generation.regular_files import is_regular, open_regular, printable, read_up_to
from generation.safetensors_header import HeaderError, refuse_other_kinds

READ_AT_ONCE: Final = 2**16
FIELDS_MAX: Final = 2**18
"""Read of a file; the largest networks of pictures have some ten thousand layers and weights."""
NAME_MAX: Final = 2**10
"""Bytes of a name."""
SAID_MAX: Final = 2**16
"""Bytes of a text among the metadata that is kept; longer ones are passed over."""
PORTS_MAX: Final = 256
"""Inputs and outputs; networks of pictures have up to a dozen."""
SIDES_MAX: Final = 16
"""Of a tensor."""
METADATA_MAX: Final = 256
EXTERNAL_MAX: Final = 64
"""Files that weights lie in beside it; there is hardly ever more than one."""
MESSAGE_MAX: Final = 2**20
"""Bytes of what is said of one input, one output or one weight's place."""

ELEMENTS: Final[Mapping[int, str]] = {
    1: "float32",
    2: "uint8",
    3: "int8",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    16: "bfloat16",
}
"""Types of elements by TensorProto.DataType."""

# field numbers, of the message that each is named for
_MODEL_PRODUCER, _MODEL_GRAPH, _MODEL_OPERATORS, _MODEL_METADATA = 2, 7, 8, 14
_GRAPH_WEIGHT, _GRAPH_INPUT, _GRAPH_OUTPUT = 5, 11, 12
_WEIGHT_NAME, _WEIGHT_PLACE = 8, 13
_PORT_NAME, _PORT_TYPE = 1, 2
_TYPE_TENSOR = 1
_TENSOR_ELEMENT, _TENSOR_SHAPE = 1, 2
_SHAPE_SIDE = 1
_SIDE_NUMBER = 1
_ENTRY_KEY, _ENTRY_VALUE = 1, 2

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
"""Wire types."""
_VARINT_MAX: Final = 10
"""Bytes of a number."""
CUT_OFF: Final = "it is cut off"
OTHERWISE: Final = "it is not written as an ONNX file is"


class OnnxPort(msgspec.Struct, frozen=True, gc=False):
    """One input or output."""

    name: str
    element: str
    """As ELEMENTS calls it; "" where it is no tensor, or of another type."""
    shape: tuple[int, ...]
    """0 where a side may be any; () where nothing is said."""


class OnnxHeader(msgspec.Struct, frozen=True):
    """What goes in and comes out, and what its author noted."""

    inputs: tuple[OnnxPort, ...]
    """Without the weights that older files list among them."""
    outputs: tuple[OnnxPort, ...]
    producer: str
    metadata: Mapping[str, str]
    external: tuple[str, ...]
    """Files beside it that its weights lie in, by the paths that it names."""


def read_onnx(path: Path) -> OnnxHeader:
    """Read the header. Raises HeaderError, and OSError as files raise it."""
    with open_regular(path) as file:
        size = path.stat().st_size
        start = read_up_to(file, 16)
        if not start.startswith(b"\x08"):
            refuse_other_kinds(start, size)
            raise HeaderError("model_broken", "it does not begin as an ONNX file does")
        file.seek(0)
        found = _Found()
        found.read(_ProtobufCursor(file, size))
    if not found.outputs:
        raise HeaderError("model_broken", "it has no outputs")
    _check_beside(path, found.external)
    inputs = tuple(port for port in found.inputs if port.name not in found.weights)
    return OnnxHeader(
        inputs, tuple(found.outputs), found.producer, found.metadata, tuple(found.external)
    )


class _Field:
    """A number, or so many bytes that lie next."""

    __slots__ = ("end", "number", "value")

    def __init__(self, number: int, value: int, end: int) -> None:
        self.number = number
        self.value = value
        """Of a number; -1 of bytes."""
        self.end = end
        """Where what follows it begins."""


class _ProtobufCursor:
    """Reads on in a file, a window at a time; what is passed over is not read."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size
        self._window = b""
        self._begin = 0
        self.place = 0
        self._fields = 0

    def fields(self, end: int) -> Iterator[_Field]:
        """The fields of a message that ends there, each passed over before the next is read."""
        while self.place < end:
            self._fields += 1
            if self._fields > FIELDS_MAX:
                raise HeaderError("model_broken", "it has more parts than any model")
            key = self._varint()
            number, kind = key >> 3, key & 7
            value = -1
            if kind == _VARINT:
                value = self._varint()
                after = self.place
            elif kind == _BYTES:
                after = self._varint()
                after += self.place
            elif kind in (_EIGHT, _FOUR):
                after = self.place + (8 if kind == _EIGHT else 4)
            else:
                raise HeaderError("model_broken", OTHERWISE)
            if after > end:
                raise HeaderError("model_broken", CUT_OFF if after > self.size else OTHERWISE)
            field = _Field(number, value, after)
            yield field
            self.place = after

    def text(self, field: _Field, most: int) -> str | None:
        """What a field says; None where that is longer, or no text."""
        length = field.end - self.place
        if field.value >= 0 or length > most:
            return None
        try:
            return self._take(length).decode()
        except UnicodeDecodeError:
            return None

    def within(self, field: _Field) -> Iterator[_Field]:
        """The fields of the message that a field is."""
        if field.value >= 0 or field.end - self.place > MESSAGE_MAX:
            raise HeaderError("model_broken", OTHERWISE)
        return self.fields(field.end)

    def _varint(self) -> int:
        number = 0
        for count in range(_VARINT_MAX):
            byte = self._take(1)[0]
            number |= (byte & 0x7F) << (7 * count)
            if byte < 0x80:
                return number
        raise HeaderError("model_broken", OTHERWISE)

    def _take(self, count: int) -> bytes:
        offset = self.place - self._begin
        if offset < 0 or offset + count > len(self._window):
            self._file.seek(self.place)
            self._window = read_up_to(self._file, max(count, READ_AT_ONCE))
            self._begin, offset = self.place, 0
        taken = self._window[offset : offset + count]
        if len(taken) < count:
            raise HeaderError("model_broken", CUT_OFF)
        self.place += count
        return taken


class _Found:
    """What was read so far."""

    def __init__(self) -> None:
        self.inputs: list[OnnxPort] = []
        self.outputs: list[OnnxPort] = []
        self.weights: set[str] = set()
        self.external: dict[str, None] = {}
        self.producer = ""
        self.metadata: dict[str, str] = {}

    def read(self, cursor: _ProtobufCursor) -> None:
        graph = operators = False
        for field in cursor.fields(cursor.size):
            if field.number == _MODEL_GRAPH and field.value < 0:
                graph = True
                self._read_graph(cursor, field.end)
            elif field.number == _MODEL_OPERATORS:
                operators = True
            elif field.number == _MODEL_PRODUCER:
                self.producer = cursor.text(field, NAME_MAX) or ""
            elif field.number == _MODEL_METADATA and len(self.metadata) < METADATA_MAX:
                key, value = _entry(cursor, field)
                if key and value is not None:
                    self.metadata[key] = value
        if not graph:
            raise HeaderError("model_broken", OTHERWISE)
        if not operators:  # all have them since 2017, behind the graph
            raise HeaderError("model_broken", CUT_OFF)

    def _read_graph(self, cursor: _ProtobufCursor, end: int) -> None:
        for field in cursor.fields(end):
            if field.number == _GRAPH_WEIGHT and field.value < 0:
                self._read_weight(cursor, field.end)
            elif field.number in (_GRAPH_INPUT, _GRAPH_OUTPUT):
                ports = self.inputs if field.number == _GRAPH_INPUT else self.outputs
                port = _port(cursor, field)
                # the weights come before: of older files' inputs only what is fed counts
                if port.name not in self.weights:
                    ports.append(port)
                if len(ports) > PORTS_MAX:
                    raise HeaderError("model_broken", "it has more inputs than any model")

    def _read_weight(self, cursor: _ProtobufCursor, end: int) -> None:
        for field in cursor.fields(end):
            if field.number == _WEIGHT_NAME:
                name = cursor.text(field, NAME_MAX)
                if name:
                    self.weights.add(name)
            elif field.number == _WEIGHT_PLACE:
                key, value = _entry(cursor, field)
                if key == "location" and value and len(self.external) < EXTERNAL_MAX:
                    self.external[value] = None


def _port(cursor: _ProtobufCursor, field: _Field) -> OnnxPort:
    name, element = "", 0
    shape: list[int] = []
    for part in cursor.within(field):
        if part.number == _PORT_NAME:
            name = cursor.text(part, NAME_MAX) or ""
        elif part.number == _PORT_TYPE:
            for kind in cursor.within(part):
                if kind.number != _TYPE_TENSOR:
                    continue
                for said in cursor.within(kind):
                    if said.number == _TENSOR_ELEMENT:
                        element = said.value
                    elif said.number == _TENSOR_SHAPE:
                        shape = _shape(cursor, said)
    return OnnxPort(name, ELEMENTS.get(element, ""), tuple(shape))


def _shape(cursor: _ProtobufCursor, field: _Field) -> list[int]:
    shape: list[int] = []
    for side in cursor.within(field):
        if side.number != _SHAPE_SIDE:
            continue
        length = 0
        for said in cursor.within(side):
            # a negative one is written as a very large one, and means any, as a name does
            if said.number == _SIDE_NUMBER and said.value < 2**31:
                length = max(0, said.value)
        shape.append(length)
        if len(shape) > SIDES_MAX:
            raise HeaderError("model_broken", f"a tensor has more than {SIDES_MAX} sides")
    return shape


def _entry(cursor: _ProtobufCursor, field: _Field) -> tuple[str, str | None]:
    key, value = "", None
    for part in cursor.within(field):
        if part.number == _ENTRY_KEY:
            key = cursor.text(part, NAME_MAX) or ""
        elif part.number == _ENTRY_VALUE:
            value = cursor.text(part, SAID_MAX)
    return key, value


def _check_beside(path: Path, external: Mapping[str, None]) -> None:
    """Raise HeaderError unless weights that lie in other files lie beside this one."""
    for name in external:
        place = PurePosixPath(name.replace("\\", "/"))
        shown = printable(name)[:100]
        if place.is_absolute() or ".." in place.parts or ":" in name or "\0" in name:
            why = f"its weights are said to lie in {shown}, which is not beside it"
            raise HeaderError("model_broken", why)
        if not is_regular(path.parent / place):
            why = f"its weights lie in {shown}, which has to be put beside it"
            raise HeaderError("model_broken", why)
