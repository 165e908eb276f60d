"""All that crosses the boundary to the process that holds the models.

Frames on the pipe are a length of four bytes, little-endian, and that many bytes of msgpack.
Pictures travel as the bytes of a file: a PNG, or what the request wants; previews as a JPEG.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from generation.description import Description
from generation.families.control import steering_uses
from generation.models import ModelFile
from generation.numerics import Numerics
from generation.request import GenerationRequest
from generation.request_fields import PictureHash
from generation.request_parts import ControlUse, Enlargement, Faces

FRAME_MAX = 256 * 2**20
LENGTH_BYTES = 4


NO_CHECK: Final = "off"
"""In the place of the folder of a picture check."""


class MessageError(Exception):
    """What was read is no message, or what is to be written can't be one; the text says why."""


Device = Literal[
    "auto",
    "cuda",
    "mps",
    "cpu",
    "cuda:0",
    "cuda:1",
    "cuda:2",
    "cuda:3",
    "cuda:4",
    "cuda:5",
    "cuda:6",
    "cuda:7",
    "cuda:8",
    "cuda:9",
    "cuda:10",
    "cuda:11",
    "cuda:12",
    "cuda:13",
    "cuda:14",
    "cuda:15",
]
Precision = Literal["auto", "float32", "float16", "bfloat16"]
Memory = Literal["auto", "high", "medium", "low"]
KeepQuantised = Literal["auto", "keep", "unpack"]


class RuntimeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[worker]`: how pictures are made on this machine. See config.toml for what each does."""

    device: Device = "auto"
    precision: Precision = "auto"
    vae_precision: Literal["auto", "float32"] = "auto"
    memory: Memory = "auto"
    """Bounds of the planner."""
    vram_reserve: Annotated[float, Meta(ge=0, le=64)] = 0.5
    """GiB of the graphics card that are left to other programs."""
    ram_limit: Annotated[float, Meta(ge=0, le=4096)] = 0.0
    """GiB of main memory that models of earlier jobs may keep; 0 for half of what there is."""
    disable_mmap: bool = False
    """Whether files are read in one go from every disk, not only from those found to be slow."""
    quantised: KeepQuantised = "auto"
    batch_size: Annotated[int, Meta(ge=1, le=10)] = 4
    models_kept: Annotated[int, Meta(ge=1, le=16)] = 2
    channels_last: bool = False
    compile: bool = False
    """Where it can't be, denoisers run as they are."""
    preview_every: Annotated[float, Meta(ge=0, le=60)] = 1.0
    """Seconds between previews; 0 for none."""
    cpu_threads: Annotated[int, Meta(ge=0, le=256)] = 0
    """0 leaves torch's own choice."""
    low_priority: bool = True
    """Runs below the bot's priority, so that Discord is answered at once."""
    picture_check_model: str = ""
    """Folder of an image-classification model in transformers' layout; empty for the tagger of the
    catalogue that rates pictures, if there is one; NO_CHECK for no check."""
    picture_check_labels: tuple[str, ...] = ("nsfw", "porn", "hentai", "sexy", "unsafe")
    """The labels of that model that count as unsafe, whatever their case."""
    picture_check_threshold: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """From which summed probability of these labels on a picture is unsafe."""
    picture_check_ratings: tuple[str, ...] = ("explicit", "questionable")
    """The ratings of a tagger that count as unsafe."""


# to the worker process


class Finishing(msgspec.Struct, frozen=True, kw_only=True):
    """What is done to a picture once it is drawn or enlarged, in this order; None for no such."""

    faces: Faces | None = None
    restorer: ModelFile | None = None
    detector: ModelFile | None = None
    remover: ModelFile | None = None
    """What tells the background that becomes transparent."""

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """All that it is done with."""
        return tuple(
            file for file in (self.restorer, self.detector, self.remover) if file is not None
        )


NOTHING: Final = Finishing()


class Configure(msgspec.Struct, frozen=True, tag=True):
    """The first message. `cache` is a folder for file hashes."""

    settings: RuntimeSettings
    cache: Path


class Generate(msgspec.Struct, frozen=True, tag=True):
    """Make the pictures of `request`, after those of the job in hand if there is one."""

    job: str
    request: GenerationRequest
    checkpoint: ModelFile
    loras: tuple[ModelFile, ...] = ()
    controlnets: tuple[ModelFile, ...] = ()
    """Those of `steering`, in order."""
    pictures: dict[PictureHash, bytes] = {}
    """The init picture, references and control pictures that it refers to."""
    vae: ModelFile | None = None
    refiner: ModelFile | None = None
    """The checkpoint that draws the last steps."""
    embeddings: tuple[ModelFile, ...] = ()
    """The learned words that its prompts name, each with its word for a name."""
    one_by_one: bool = False
    """Whether to draw one picture at a time: an earlier try may have died of too many."""
    numerics: Numerics | None = None
    """How the pictures were computed that this job draws again; kept to as far as it can be."""
    enlargement: Enlargement | None = None
    """How the picture is enlarged first that the request starts from; it is then the second pass
    over that."""
    upscaler: ModelFile | None = None
    """What enlarges it, or what a hires pass goes over; None for one without a file."""
    adapters: tuple[ModelFile, ...] = ()
    """The IP-Adapters of its image prompts, in order."""
    eyes: tuple[ModelFile, ...] = ()
    """The image encoders that they see by, each once."""
    annotators: dict[str, ModelFile] = {}
    """What its control pictures are made with, by what each sees (`preprocessors.Annotator`)."""
    segmenter: ModelFile | None = None
    """What finds the words by which its start picture is masked."""
    finishing: Finishing = NOTHING
    """What is done to each picture once it is drawn."""
    references: tuple[PictureHash, ...] = ()
    """The pictures that a model is shown which edits them; none of them is then one to start from,
    but for an enlarged one."""
    edited: PictureHash | None = None
    """What an InstructPix2Pix has edited, where a second pass goes over what it made of that."""
    hires_checkpoint: ModelFile | None = None
    """The checkpoint that draws what a hires pass has enlarged, where that is another."""

    @property
    def checkpoints(self) -> tuple[ModelFile, ...]:
        """All that draw, each once."""
        found = (self.checkpoint, self.hires_checkpoint, self.refiner)
        return tuple(file for file in found if file is not None)

    rater: ModelFile | None = None
    """The tagger that checks the pictures, where the settings name no other check."""

    @property
    def seeing(self) -> tuple[ModelFile, ...]:
        """What sees pictures before any is drawn."""
        segmenter = () if self.segmenter is None else (self.segmenter,)
        return (*segmenter, *self.annotators.values(), *self.eyes, *self.adapters)

    @property
    def steering(self) -> tuple[ControlUse, ...]:
        """What its ControlNets follow; what follows a picture itself is none."""
        return steering_uses(self.request.controls, self.checkpoint, self.refiner, *self.loras)

    @property
    def followed(self) -> ControlUse | None:
        """What its checkpoint follows itself, or with a LoRA."""
        steering = self.steering
        return next((use for use in self.request.controls if use not in steering), None)


class Enlarge(msgspec.Struct, frozen=True, tag=True):
    """Make the picture larger that `request.enlargement` names, without a second pass, or leave it
    as large as it is; then do what `finishing` says."""

    job: str
    request: GenerationRequest
    upscaler: ModelFile | None
    """None for one without a file."""
    pictures: dict[PictureHash, bytes]
    numerics: Numerics | None = None
    """As in Generate."""
    finishing: Finishing = NOTHING
    """What is done to it once it is larger."""
    rater: ModelFile | None = None
    """The tagger that checks the picture, where the settings name no other check."""
    annotators: dict[str, ModelFile] = {}
    """As in Generate."""


class Describe(msgspec.Struct, frozen=True, tag=True):
    """Say what the picture shows that `request.describing` names."""

    job: str
    request: GenerationRequest
    tagger: ModelFile | None
    captioner: ModelFile | None
    """None for what is not wanted; one of the two is."""
    pictures: dict[PictureHash, bytes]
    rater: ModelFile | None = None
    """The tagger that checks the picture, where the settings name no other check."""


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """Stop this job at the next denoising step; answered by Failed(code="cancelled")."""

    job: str


class Stop(msgspec.Struct, frozen=True, tag=True):
    """End the process. A closed pipe means the same."""


EngineWork = Generate | Enlarge | Describe
ToRuntime = Configure | EngineWork | Cancel | Stop

# from the worker process


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The first answer: what the pictures will be made on."""

    device: str
    """As torch names it: `cuda:0`, `mps`, `cpu`."""
    device_name: str
    memory_total: int
    """Bytes of the device's memory."""
    precision: str
    versions: dict[str, str]
    """torch, diffusers, transformers, …"""
    channels_last: bool = False
    compiled: bool = False
    """Whether denoisers are compiled."""
    remark: str = ""
    """What the settings ask for in vain: a sentence for the owner's log."""
    memory_free: int = 0
    """Bytes of the device's memory that other programs had left then."""
    onnx_on_device: bool = False
    """Whether networks in ONNX files work there, and not on the processor."""


class Progress(msgspec.Struct, frozen=True, tag=True):
    """How far a job is. Sent at its start, at each denoising step, and at each change of stage."""

    job: str
    stage: Literal[
        "loading",
        "enlarging",
        "masking",
        "encoding",
        "denoising",
        "hires",
        "decoding",
        "faces",
        "cutout",
        "describing",
    ]
    step: int
    """Steps done in all batches together."""
    steps: int


class Preview(msgspec.Struct, frozen=True, tag=True):
    """What the pictures look like so far: one small JPEG, four pictures two by two."""

    job: str
    jpeg: bytes


class Picture(msgspec.Struct, frozen=True, tag=True):
    """A finished picture, sent as soon as it is one."""

    job: str
    index: int
    seed: int
    file: bytes
    """A PNG, WebP or JPEG, as the request wants it."""
    width: int
    height: int
    pixels_sha256: str
    """SHA-256 of the RGB or RGBA bytes, row by row, as they were before a file's format lost any:
    so that two pictures can be compared."""
    hashes: dict[str, str] = {}
    """As in Finished: the picture's metadata names the files that made it."""
    variation_seed: int | None = None
    """The second seed that its noise was moved towards; None where it was not."""
    unsafe: float | None = None
    """Summed probability of the unsafe labels; None where no picture check is set up."""
    numerics: Numerics | None = None
    """How it was computed."""


class ControlSeen(msgspec.Struct, frozen=True, tag=True):
    """A control picture exactly as a ControlNet of the job is shown it, before any picture that
    follows it; of a hires pass, which is shown a larger one, that too.
    """

    job: str
    index: int
    """Which of the request's ControlNets, from 0; their number for a mask found by words."""
    file: bytes
    """A PNG."""
    width: int
    height: int
    unsafe: float | None = None
    """As in Picture."""


class Described(msgspec.Struct, frozen=True, tag=True):
    """What was seen in the picture that was to be described."""

    job: str
    description: Description


class Finished(msgspec.Struct, frozen=True, tag=True):
    """All pictures of the job were sent."""

    job: str
    seconds: float
    """Of the whole job, loading included."""
    seconds_loading: float
    batch_size: int
    """Pictures to one network call; the last bits of a picture depend on it."""
    memory_peak: int
    """Bytes of device memory at most; 0 where the device does not tell."""
    hashes: dict[str, str]
    """SHA-256 by `kind:name` of every file used."""
    versions: dict[str, str]
    numerics: Numerics | None = None
    """How the last picture was computed: an earlier one may have been drawn before memory ran
    out."""
    remark: str = ""
    """What went wrong with it and was got round: a sentence for the owner's log."""
    spared: tuple[str, ...] = ()
    """What was changed after memory ran out: codes of `generation/memory_words.py`."""
    faceless: tuple[int, ...] = ()
    """Of which pictures the faces were to be restored and there were none, by index."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The job ended without its pictures, or, in place of Ready and with no `job`, the process
    can't work with these settings. `code` names a sentence of `bot/locales/`.

    cancelled, out_of_memory, model_broken, nan_pictures, nan_weights,
    embedding_mismatch, start_picture_needed, mask_too_fine, mask_words_unfound, mask_words_long,
    encoder_blind, control_picture_needed,
    lora_mismatch, lora_nan, lora_kind, lora_quantised, controlnet_mismatch, vae_mismatch,
    clip_skip_too_deep, picture_unreadable, model_labels_wrong,
    upscaler_kind, upscaler_library_missing, face_restorer_kind, face_restorer_library_missing,
    face_detector_kind, background_remover_kind, picture_check_broken, internal_error;
    of the settings: device_missing, device_unusable, precision_unusable;
    of the engine itself: worker_died, worker_hung, request_unsendable.
    """

    job: str
    code: str
    params: dict[str, str] = {}
    detail: str = ""
    """For the log, never for people: the traceback."""


EngineEvent = Progress | Preview | ControlSeen | Picture | Described | Finished | Failed
FromRuntime = Ready | EngineEvent

# from the worker coroutine to its listeners, beside the engine's events


class Unsaved(msgspec.Struct, frozen=True):
    """What was made can't be kept now; the job stays running until it can. `code` names a sentence
    of `bot/locales/`: disk_full, disk_unwritable, database_busy.
    """

    job: str
    code: str


JobEvent = EngineEvent | Unsaved


def frame(message: ToRuntime | FromRuntime) -> bytes:
    """A message as it goes into the pipe: its length, then itself. Raises as `encode`."""
    body = encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "little") + body


def encode(message: Any) -> bytes:
    """A message as bytes.

    Raises MessageError for text that can't be encoded, such as the name of a file that is not
    UTF-8, and for more than FRAME_MAX bytes.
    """
    try:
        body = msgspec.msgpack.encode(message, enc_hook=_encoded)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MessageError(f"{type(message).__name__} can't be sent: {error}") from error
    if len(body) > FRAME_MAX:
        raise MessageError(f"{type(message).__name__} can't be sent: it has {len(body)} bytes")
    return body


def frame_length(start: bytes) -> int:
    """How many bytes follow the first LENGTH_BYTES. Raises MessageError for more than FRAME_MAX."""
    length = int.from_bytes(start, "little")
    if length > FRAME_MAX:
        raise MessageError(f"a frame of {length} bytes")
    return length


def read_to_runtime(body: bytes) -> ToRuntime:
    """A message to the worker process. Raises MessageError."""
    message: ToRuntime = _read(_TO_RUNTIME, body)
    return message


def read_from_runtime(body: bytes) -> FromRuntime:
    """A message from the worker process. Raises MessageError."""
    message: FromRuntime = _read(_FROM_RUNTIME, body)
    return message


def _read(decoder: "msgspec.msgpack.Decoder[Any]", body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        # not only msgspec's own errors: text that is not UTF-8 is a UnicodeDecodeError
        raise MessageError(str(error)) from error


def _encoded(value: object) -> bytes:
    if isinstance(value, Path):
        # as bytes: a name that is not UTF-8 is a path all the same
        return os.fsencode(value)
    raise NotImplementedError(type(value))


def _rich(type_: type, value: object) -> object:
    if type_ is Path and isinstance(value, bytes | str):
        return Path(os.fsdecode(value))
    raise TypeError(f"{type(value).__name__} is no path")


_TO_RUNTIME = msgspec.msgpack.Decoder(ToRuntime, dec_hook=_rich)
_FROM_RUNTIME = msgspec.msgpack.Decoder(FromRuntime)
