"""What a picture's file says of how it was made, whichever program wrote it."""

from typing import Final, Literal

import msgspec

from generation.models import ModelKind
from generation.request import GenerationRequest
from generation.request_fields import Conventions
from generation.request_parts import LoraUse

TEXT_MAX: Final = 4 * 2**20
"""Bytes of one text; the graphs of ComfyUI reach 2 MiB."""
XMP: Final = "XML:com.adobe.xmp"
KEYWORDS: Final = (
    *("darkroom", "parameters", "prompt", "workflow"),
    *("invokeai_metadata", "sd-metadata", "Dream"),
    *("Comment", "Description", "Software", "Source", "Title"),
    *("fooocus_scheme", "UserComment", XMP),
)
"""The names of texts that are read: PNG's keywords, and EXIF's UserComment."""

FileOption = Literal["model", "vae", "refiner", "hires_model", "hires_upscaler"]
"""The options that name a file."""
PictureSize = tuple[int, int] | None
"""Width and height of the file's picture in pixels, where they are known."""
Said = str | int | float


class NamedFile(msgspec.Struct, frozen=True):
    """A file that a picture was made with, as its program names it."""

    kind: ModelKind
    name: str = ""
    hash: str = ""
    """Digits of a hash of it, whichever the program takes; see `generation.info.file_hashes`."""


class Note(msgspec.Struct, frozen=True):
    """Something of the data that can't be kept: a sentence of `bot/locales/`."""

    code: str
    params: dict[str, Said] = {}


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """What one file says. Nothing of it has been held against what is here."""

    program: str
    prompt: str = ""
    """As this bot would have it, but for LoRAs, which stand in `loras`."""
    negative_prompt: str = ""
    given: dict[str, Said] = {}
    """Options of a request by name, but for its texts and files; `distilled` is the guidance that
    models are told, which need no CFG, where it has a number of its own.
    """
    files: dict[FileOption, NamedFile] = {}
    """By the option that names them."""
    loras: tuple[LoraUse, ...] = ()
    lora_hashes: dict[str, str] = {}
    """By the names of these."""
    embeddings: tuple[NamedFile, ...] = ()
    """Learned words that its prompts call."""
    beside: tuple[NamedFile, ...] = ()
    """What it was made with that no request can ask for without a picture: ControlNets, …"""
    conventions: Conventions = "a1111"
    ignored: tuple[str, ...] = ()
    """What means nothing here: keys, or ComfyUI's nodes."""
    notes: tuple[Note, ...] = ()
    refused: Note | None = None
    """Why nothing can be asked for as it stands, where the data hold a value that can't be read."""
    request: GenerationRequest | None = None
    """Of this bot's own pictures: what was asked for, to the last bit."""
    hashes: dict[str, str] = {}
    """And the SHA-256 of the files that it was made with, as `About` has them."""
    text: str = ""
    """What was read, as it stands in the file."""

    @property
    def is_graph(self) -> bool:
        """Whether `text` is JSON and no infotext."""
        return self.text[:1] in ("{", "[")
