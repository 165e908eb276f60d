"""Which parts a checkpoint of one file has in itself, beside its denoiser."""

from typing import Final

from generation.families.autoencoders import PREFIXES
from generation.families.encoders import ENCODERS, EncoderMake
from generation.families.layout import TensorNames, told_missing
from generation.families.tensors import autoencoder

_VAES: Final = tuple(
    f"{prefix}decoder.{first}.weight"
    for prefix in PREFIXES
    for first in ("conv_in", "conv1")
    if prefix
)
_VAE_PARTS: Final = tuple(autoencoder(prefix, quantised=False) for prefix in PREFIXES if prefix)


def carried(names: TensorNames) -> tuple[str, ...]:
    """The names of the parts, as ComfyUI and Stability AI write them into one file."""
    encoders = (name for name, make in ENCODERS.items() if names.has(f"^{make.within}"))
    vae = ("vae",) if names.has_any(tuple(f"^{name}" for name in _VAES)) else ()
    return (*encoders, *vae)


def lacking(names: TensorNames, parts: tuple[str, ...]) -> str:
    """Which of these parts is not whole, and what it lacks; "" where all are."""
    for part in parts:
        why = _vae(names) if part == "vae" else _encoder(names, ENCODERS[part])
        if why:
            return why
    return ""


def _encoder(names: TensorNames, make: EncoderMake) -> str:
    tried = [part for part in make.inside if names.has(f"^{part.begins}{part.tensors[0]}$")]
    if not tried:
        return f"its {make.title} lacks its words"
    return min((told_missing(part, names) for part in tried), key=len)


def _vae(names: TensorNames) -> str:
    there = (part for part in _VAE_PARTS if names.has(f"^{part.begins}"))
    return next(filter(None, (told_missing(part, names) for part in there)), "")
