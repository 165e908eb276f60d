"""A picture of a request as ComfyUI's usual workflow, in its API format: nodes by number."""

from collections.abc import Mapping
from typing import Any, Final

from generation.comfyui.expressing import theirs
from generation.comfyui.names import SAMPLER, Names
from generation.messages import Generate

Graph = dict[str, dict[str, Any]]
Link = list[str | int]

STAGES: Final[Mapping[str, str]] = {
    "CLIPTextEncode": "encoding",
    "VAEEncode": "encoding",
    SAMPLER: "denoising",
    "VAEDecode": "decoding",
}
"""What ComfyUI does at a node, as a stage of generation/messages.py; at others it loads."""


class _Nodes:
    def __init__(self) -> None:
        self.graph: Graph = {}

    def add(self, node: str, **inputs: Any) -> str:
        """The number of a new node."""
        number = str(len(self.graph) + 1)
        self.graph[number] = {"class_type": node, "inputs": inputs}
        return number


def graph_of(work: Generate, index: int, names: Names, uploads: Mapping[str, str]) -> Graph:
    """Picture `index` of a request; `uploads` are ComfyUI's names of its pictures, by their hashes.
    Raises Refused for a file that it has not.
    """
    request, nodes = work.request, _Nodes()
    loaded = nodes.add("CheckpointLoaderSimple", ckpt_name=names.of(work.checkpoint))
    model: Link = [loaded, 0]
    clip: Link = [loaded, 1]
    vae: Link = [loaded, 2]
    if work.checkpoint.v_prediction:
        snr = work.checkpoint.zero_terminal_snr
        predicts = nodes.add(
            "ModelSamplingDiscrete", model=model, sampling="v_prediction", zsnr=snr
        )
        model = [predicts, 0]
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
        clip = [nodes.add("CLIPSetLastLayer", clip=clip, stop_at_clip_layer=-request.clip_skip), 0]
    if work.vae is not None:
        vae = [nodes.add("VAELoader", vae_name=names.of(work.vae)), 0]
    wanted: Link = [nodes.add("CLIPTextEncode", clip=clip, text=request.prompt), 0]
    unwanted: Link = [nodes.add("CLIPTextEncode", clip=clip, text=request.negative_prompt), 0]
    for control, file in zip(request.controls, work.controlnets, strict=True):
        net = nodes.add("ControlNetLoader", control_net_name=names.of(file))
        shown = nodes.add("LoadImage", image=uploads[control.picture])
        steered = nodes.add(
            "ControlNetApplyAdvanced",
            positive=wanted,
            negative=unwanted,
            control_net=[net, 0],
            image=[shown, 0],
            strength=control.scale,
            start_percent=0.0,
            end_percent=1.0,
        )
        wanted, unwanted = [steered, 0], [steered, 1]
    if request.init_picture is None:
        sides = {"width": request.width, "height": request.height}
        start = nodes.add("EmptyLatentImage", batch_size=1, **sides)
    else:
        picture = nodes.add("LoadImage", image=uploads[request.init_picture])
        start = nodes.add("VAEEncode", pixels=[picture, 0], vae=vae)
    sampler, scheduler = theirs(request)
    drawn = nodes.add(
        SAMPLER,
        model=model,
        seed=request.seeds[index],
        steps=request.steps,
        cfg=request.guidance_scale,
        sampler_name=sampler,
        scheduler=scheduler,
        positive=wanted,
        negative=unwanted,
        latent_image=[start, 0],
        denoise=1.0 if request.init_picture is None else request.denoising_strength,
    )
    picture = nodes.add("VAEDecode", samples=[drawn, 0], vae=vae)
    nodes.add(names.saver, images=[picture, 0])
    return nodes.graph
