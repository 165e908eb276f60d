"""What lies in the model folders: one `ModelFile` a checkpoint, LoRA, ControlNet or VAE."""

from enum import StrEnum
from pathlib import Path

import msgspec

from generation.model_settings import ModelSettings
from generation.regular_files import printable


class ModelKind(StrEnum):
    """What a file is for."""

    CHECKPOINT = "checkpoint"
    LORA = "lora"
    CONTROLNET = "controlnet"
    VAE = "vae"


class ModelFile(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A model on disk that can be used. `path` is a safetensors file or a diffusers folder."""

    kind: ModelKind
    name: str
    path: Path
    family: str
    """A key of FAMILIES, or of RECOGNISED for what cannot be run yet."""
    native_size: int = 0
    """Side of its training pictures in pixels; 0 where the family's holds."""
    v_prediction: bool | None = None
    """None where a single file does not say: the denoiser is asked when it is loaded."""
    zero_terminal_snr: bool = False
    context_width: int = 0
    """Of the text embedding that the denoiser attends to; 0 where the file does not tell."""
    trigger_words: tuple[str, ...] = ()
    size: int = 0
    """Bytes on disk."""
    defaults: ModelSettings | None = None
    """What its author or its owner laid beside it; `[models.NAME]` goes before."""

    def fits(self, model: "ModelFile") -> bool:
        """Whether this LoRA or ControlNet is made for a checkpoint like that one."""
        widths = {self.context_width, model.context_width} - {0}
        return self.family == model.family and len(widths) < 2

    @property
    def is_folder(self) -> bool:
        """Whether it is a diffusers folder and not a single file."""
        return self.path.suffix.lower() != ".safetensors"


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
