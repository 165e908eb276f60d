"""The nodes that load what draws."""

from typing import NamedTuple

from generation.comfyui.names import Names
from generation.comfyui.nodes import Link, Nodes
from generation.messages import Generate
from generation.models import ModelFile


class Loaded(NamedTuple):
    """A denoiser, its text encoders and a VAE."""

    model: Link
    clip: Link
    vae: Link


def load(nodes: Nodes, work: Generate, names: Names, checkpoint: ModelFile) -> Loaded:
    """A checkpoint of a job with its LoRAs and its VAE. Raises Refused for a file that ComfyUI has
    not.
    """
    request = work.request
    loaded = nodes.add("CheckpointLoaderSimple", ckpt_name=names.of(checkpoint))
    model: Link = [loaded, 0]
    clip: Link = [loaded, 1]
    vae: Link = [loaded, 2]
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
