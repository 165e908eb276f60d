"""The nodes that load what draws."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from generation.comfyui.names import Names
from generation.comfyui.nodes import Link, Nodes
from generation.messages import Generate
from generation.models import ModelFile


class Loaded(NamedTuple):
    """A denoiser, its text encoders and a VAE."""

    model: Link
    clip: Link
    vae: Link


class Encoders(NamedTuple):
    """The text encoders of a family whose models are made of parts, and what ComfyUI calls their
    kind where several are loaded together.
    """

    kind: str
    parts: tuple[str, ...]


PARTS: Final[Mapping[str, Encoders]] = {
    "flux": Encoders("flux", ("clip_l", "t5xxl")),
}
"""Those that are told, by family."""


def load(nodes: Nodes, work: Generate, names: Names, checkpoint: ModelFile) -> Loaded:
    """A checkpoint of a job with its LoRAs and its VAE. Raises Refused for a file that ComfyUI has
    not.
    """
    request = work.request
    if checkpoint.family in PARTS and not is_one_file(checkpoint):
        model, clip, vae = _of_parts(nodes, names, checkpoint)
    else:
        loaded = nodes.add("CheckpointLoaderSimple", ckpt_name=names.of(checkpoint))
        model, clip, vae = [loaded, 0], [loaded, 1], [loaded, 2]
        if "vae" in checkpoint.parts:
            vae = nodes.link("VAELoader", vae_name=names.of(checkpoint.parts["vae"]))
    if checkpoint.v_prediction:
        snr = checkpoint.zero_terminal_snr
        model = nodes.link("ModelSamplingDiscrete", model=model, sampling="v_prediction", zsnr=snr)
    for use, file in zip(request.loras, work.loras, strict=True):
        te_weight = use.weight if use.te_weight is None else use.te_weight
        lora = nodes.add(
            "LoraLoader",
            model=model,
            clip=clip,
            lora_name=names.of(file),
            strength_model=use.weight,
            strength_clip=te_weight,
        )
        model, clip = [lora, 0], [lora, 1]
    if request.clip_skip > 1:
        clip = nodes.link("CLIPSetLastLayer", clip=clip, stop_at_clip_layer=-request.clip_skip)
    if work.vae is not None:
        vae = nodes.link("VAELoader", vae_name=names.of(work.vae))
    return Loaded(model, clip, vae)


def is_one_file(checkpoint: ModelFile) -> bool:
    """Whether its own file holds its text encoders."""
    rows = PARTS.get(checkpoint.family)
    return rows is None or all(part in checkpoint.carries for part in rows.parts)


def files_of(checkpoint: ModelFile) -> tuple[ModelFile, ...]:
    """What of a checkpoint is loaded beside its own file."""
    if is_one_file(checkpoint):
        vae = checkpoint.parts.get("vae")
        return () if vae is None else (vae,)
    rows = PARTS[checkpoint.family]
    names = (*rows.parts, "vae")
    return tuple(checkpoint.parts[name] for name in names if name in checkpoint.parts)


def _of_parts(nodes: Nodes, names: Names, checkpoint: ModelFile) -> Loaded:
    rows = PARTS[checkpoint.family]
    alone = not checkpoint.carries
    if alone:
        name = names.of(checkpoint, alone=True)
        model = nodes.link("UNETLoader", unet_name=name, weight_dtype="default")
    else:
        loaded = nodes.add("CheckpointLoaderSimple", ckpt_name=names.of(checkpoint))
        model = [loaded, 0]
    one, other = (names.of(checkpoint.parts[part]) for part in rows.parts)
    clip = nodes.link("DualCLIPLoader", clip_name1=one, clip_name2=other, type=rows.kind)
    if "vae" in checkpoint.parts:
        vae = nodes.link("VAELoader", vae_name=names.of(checkpoint.parts["vae"]))
    else:
        vae = [loaded, 2]
    return Loaded(model, clip, vae)
