"""What lies in the model folders: one `ModelFile` a checkpoint, LoRA, ControlNet or VAE."""

from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from generation.model_settings import ModelSettings, Quantise
from generation.regular_files import printable


class ModelKind(StrEnum):
    """What a file is for."""

    CHECKPOINT = "checkpoint"
    LORA = "lora"
    CONTROLNET = "controlnet"
    VAE = "vae"
    EMBEDDING = "embedding"
    """A word that was learned: textual inversion."""
    UPSCALER = "upscaler"
    TEXT_ENCODER = "text_encoder"
    """One that lies alone, for models that are made of parts."""
    TAGGER = "tagger"
    """Says by tags what a picture shows, and how fit it is for whom."""
    FACE_RESTORER = "face_restorer"
    """Draws faces anew that are small or broken."""
    FACE_DETECTOR = "face_detector"
    """Finds the faces in a picture."""
    BACKGROUND_REMOVER = "background_remover"
    """Tells what stands before its background."""
    CAPTIONER = "captioner"
    """Says in a sentence what a picture shows."""
    IPADAPTER = "ipadapter"
    """Draws after a picture as after a prompt."""
    CLIP_VISION = "clip_vision"
    """An image encoder: what IP-Adapters see pictures by."""
    ANNOTATOR = "annotator"
    """What control pictures are made with: it sees depths, edges or skeletons in pictures."""
    SEGMENTER = "segmenter"
    """Finds in a picture what words name."""


SAFETENSORS: Final = ".safetensors"
GGUF: Final = ".gguf"
ONNX: Final = ".onnx"
"""Of small networks beside those that draw: taggers and their like."""
ENDINGS: Final = (SAFETENSORS, GGUF, ONNX)
"""Of the files that models are read from."""
UNKNOWN: Final = "sd"
"""The family of a VAE, LoRA, ControlNet or embedding that is for some version of Stable Diffusion,
where nothing tells which: it may be tried with each."""
UNKNOWN_FITS: Final = frozenset(("sd1", "sd2", "sdxl", "sdxl-refiner"))
SD3_OR_FLUX: Final = "sd3/flux"
"""The family of a VAE with sixteen channels, whose tensors have the same names in both."""
FITS: Final = {
    UNKNOWN: UNKNOWN_FITS,
    "flux2": frozenset(("flux2-klein-4b", "flux2-klein-9b", "flux2-dev")),
    SD3_OR_FLUX: frozenset(("sd3", "sd3.5", "flux", "chroma", "z-image")),
}
"""The families whose checkpoints a part may be made for, by those of which nothing tells more."""


class ModelFile(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A model on disk that can be used: a safetensors, GGUF or ONNX file, or a folder in diffusers'
    or transformers' layout."""

    kind: ModelKind
    name: str
    path: Path
    family: str
    """A key of FAMILIES, or of RECOGNISED for what cannot be run yet; "" of an upscaler. Of a text
    encoder its make: clip_l, clip_g, t5xxl, qwen3-4b, qwen2.5-vl-7b, mistral-small-24b, …; of a
    tagger its maker's way: wd, pixai, joytag, …; of a captioner its architecture: florence2; of a
    segmenter the same: clipseg"""
    variant: str = ""
    """What sets it apart within its kind and family, "" where nothing does. Of a checkpoint:
    inpainting, instruct-pix2pix, depth, lcm; of a ControlNet: union, union-promax, t2i-adapter;
    of a text encoder that it reads text alone and sees no pictures, or the other way round; of a
    LoRA its algorithm: loha, lokr, oft, ia3, glora, full, dora, or that with it a control picture
    is followed; of an upscaler and a face restorer its architecture; of an annotator what it sees,
    as `Annotator` of generation.preprocessors names it; of a tagger that it also rates pictures."""
    input_channels: int = 0
    """Of a checkpoint's denoiser, which are more than its latents' where it is told more; of a
    T2I-Adapter those of its picture. 0 where the file does not tell."""
    quantisation: str = ""
    """How its weights are kept, where not whole: fp8, scaled fp8, or of GGUF the type that most
    have, such as Q4_K."""
    quantise: Quantise = ""
    """What its whole weights become when they are loaded; see ModelSettings."""
    native_size: int = 0
    """Side of its training pictures in pixels; 0 where the family's holds."""
    v_prediction: bool | None = None
    """None where a single file does not say: the denoiser is asked when it is loaded."""
    zero_terminal_snr: bool = False
    context_width: int = 0
    """Of the text embedding that the denoiser attends to; 0 where the file does not tell."""
    trigger_words: tuple[str, ...] = ()
    base: str = ""
    """What is noted beside it that it was trained on, as Civitai has it: "SDXL Lightning"."""
    titles: tuple[str, ...] = ()
    """What it is called in its metadata, and beside it."""
    hashes: tuple[str, ...] = ()
    """Digits of its hashes as noted beside it: nobody here has looked whether they are right."""
    size: int = 0
    """Bytes on disk."""
    carries: tuple[str, ...] = ()
    """Of a checkpoint of a family made of parts: which of them lie in its own file, as "vae",
    "clip_l", "t5xxl"; its denoiser always does."""
    parts: dict[str, "ModelFile"] = {}
    """The files of the parts that it does not carry, by the same names; the catalogue fills them in
    before a checkpoint is drawn with. Of a text encoder the file of what sees pictures."""
    labels: Path | None = None
    """Of a tagger: the list of its tags beside it."""
    defaults: ModelSettings | None = None
    """What its author or its owner laid beside it; `[models.NAME]` goes before."""

    def __hash__(self) -> int:
        return hash((self.kind, self.path, self.family))

    def fits(self, model: "ModelFile") -> bool:
        """Whether this LoRA or ControlNet may be made for a checkpoint like that one."""
        widths = {self.context_width, model.context_width} - {0}
        return self.may_be_of(model.family) and len(widths) < 2

    def may_be_of(self, family: str) -> bool:
        """Whether it is of that family, or may be, since nothing tells."""
        return self.family == family or family in FITS.get(self.family, ())

    def made_for(self, model: "ModelFile") -> "ModelFile":
        """This part of unknown version, taken for one of that checkpoint's."""
        if self.family in FITS and self.may_be_of(model.family):
            return msgspec.structs.replace(self, family=model.family)
        return self

    @property
    def files(self) -> "tuple[ModelFile, ...]":
        """Itself and all that it is drawn with beside: its parts, and what those have."""
        return (self, *(file for part in self.parts.values() for file in part.files))

    @property
    def shown(self) -> str:
        """What people know its file by: no path is in it."""
        return self.name if self.is_folder else printable(self.path.name)

    @property
    def is_folder(self) -> bool:
        """Whether it is a diffusers folder and not a single file."""
        return self.path.suffix.lower() not in ENDINGS


class Unusable(msgspec.Struct, frozen=True, gc=False):
    """A file in a model folder that cannot be used, and why, for `doctor`."""

    path: Path
    code: str
    """A sentence of `bot/locales/`: model_pickle, model_broken, model_unknown_layout, …"""
    params: dict[str, str] = {}

    @property
    def where(self) -> str:
        """The path as it can be shown, whatever its name is made of."""
        return printable(str(self.path))
