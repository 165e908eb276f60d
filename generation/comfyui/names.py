"""What a ComfyUI has: nodes, and the names by which they know files, samplers and schedulers."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from generation.models import ModelFile, ModelKind
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.samplers import SAMPLERS, SCHEDULES, UNIFORM, sampler_of, schedule_of

SAMPLER: Final = "KSampler"
OVER_SOCKET: Final = "SaveImageWebsocket"
"""Keeps nothing on ComfyUI's disk; lies in its custom_nodes as it is installed."""
INTO_TEMPORARY: Final = "PreviewImage"
"""What every ComfyUI has, where it lacks the other."""
LISTS: Final[Mapping[ModelKind, tuple[str, str]]] = {
    ModelKind.CHECKPOINT: ("CheckpointLoaderSimple", "ckpt_name"),
    ModelKind.LORA: ("LoraLoader", "lora_name"),
    ModelKind.VAE: ("VAELoader", "vae_name"),
    ModelKind.CONTROLNET: ("ControlNetLoader", "control_net_name"),
    ModelKind.UPSCALER: ("UpscaleModelLoader", "model_name"),
    ModelKind.TEXT_ENCODER: ("CLIPLoader", "clip_name"),
}
"""The node that loads files of a kind, and the input that takes their names."""
DENOISERS: Final = ("UNETLoader", "unet_name")
"""The same of checkpoints that are a denoiser alone."""
ASKED: Final = (SAMPLER, OVER_SOCKET, DENOISERS[0], *(node for node, _ in LISTS.values()))
"""The nodes that are asked about."""


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """What a ComfyUI said of itself."""

    nodes: frozenset[str]
    """Of those in ASKED."""
    samplers: tuple[str, ...]
    schedulers: tuple[str, ...]
    files: Mapping[ModelKind, tuple[str, ...]]
    denoisers: tuple[str, ...] = ()
    """Checkpoints that are no more."""
    embeddings: tuple[str, ...] = ()
    """Without the ends of their files' names."""

    @property
    def saver(self) -> str:
        """The node that hands pictures out."""
        return OVER_SOCKET if OVER_SOCKET in self.nodes else INTO_TEMPORARY

    def of(self, file: ModelFile, *, alone: bool = False) -> str:
        """ComfyUI's name of a file, which ends its path; `alone` of a denoiser that is all that is
        loaded of it. Raises Refused where it has none.
        """
        path, names = file.path, self.denoisers if alone else self.files.get(file.kind, ())
        if file.kind is ModelKind.EMBEDDING:
            path, names = path.with_suffix(""), self.embeddings
        whole = path.as_posix().casefold()
        found = [
            name
            for name in names
            if f"/{whole}".endswith(f"/{name.replace(chr(92), '/').casefold()}")
        ]
        if not found:
            raise Refused("comfyui_file", file=file.shown)
        return max(found, key=len)


def theirs(request: GenerationRequest) -> tuple[str, str]:
    """ComfyUI's names of a request's sampler and its scheduler."""
    sampler, falling = sampler_of(request), schedule_of(request)
    row = SAMPLERS.get(sampler)
    return row.comfyui if row is not None else sampler, (
        "normal" if falling == UNIFORM else SCHEDULES.get(falling, "")
    )


def read(nodes: Mapping[str, Any], embeddings: Any = ()) -> Names:
    """From what `/object_info/NODE` said of each in ASKED, and `/embeddings`. Raises ValueError for
    what it never says.
    """
    try:
        known = {name: about["input"].get("required", {}) for name, about in nodes.items()}
        sampling = known.get(SAMPLER, {})
        return Names(
            nodes=frozenset(known),
            samplers=_choices(sampling, "sampler_name"),
            schedulers=_choices(sampling, "scheduler"),
            denoisers=_choices(known.get(DENOISERS[0], {}), DENOISERS[1]),
            embeddings=tuple(map(str, embeddings)),
            files={kind: _choices(known.get(node, {}), key) for kind, (node, key) in LISTS.items()},
        )
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"what it says of its nodes can't be read: {error!r}") from error


def _choices(inputs: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """The values of an input: a list of them, or behind the word COMBO as later versions write."""
    if key not in inputs:
        return ()
    declared = inputs[key]
    found = declared[1]["options"] if declared[0] == "COMBO" else declared[0]
    return tuple(str(value) for value in found)
