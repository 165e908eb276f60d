"""A picture of a request as ComfyUI's usual workflows, in its API format."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from generation import hires
from generation.comfyui.loading import Loaded, load
from generation.comfyui.names import SAMPLER, Names, theirs
from generation.comfyui.nodes import Link, Nodes, NodeWork, ToldGraph
from generation.comfyui.noise_levels import shares
from generation.comfyui.passes import ComfyUIPass
from generation.comfyui.words import spelled
from generation.families import family_of
from generation.families.control import USUAL_KIND
from generation.hires_sizes import LATENT, HiresSizes
from generation.messages import Generate
from generation.models import ModelFile
from generation.request_parts import ControlUse

LATENT_METHODS: Final = {
    "Latent": "bilinear",
    "Latent (bicubic)": "bicubic",
    "Latent (nearest-exact)": "nearest-exact",
}
"""ComfyUI's names of the latent upscalers that it has."""
UNION_TYPES: Final = {
    "openpose": "openpose",
    "depth": "depth",
    "hed": "hed/pidi/scribble/ted",
    "pidi": "hed/pidi/scribble/ted",
    "scribble": "hed/pidi/scribble/ted",
    "ted": "hed/pidi/scribble/ted",
    "canny": "canny/lineart/anime_lineart/mlsd",
    "lineart": "canny/lineart/anime_lineart/mlsd",
    "anime_lineart": "canny/lineart/anime_lineart/mlsd",
    "mlsd": "canny/lineart/anime_lineart/mlsd",
    "normal": "normal",
    "segment": "segment",
    "tile": "tile",
    "repaint": "repaint",
}
"""ComfyUI's names of the kinds of pictures that unions of SDXL are handed."""


class PassPictures(NamedTuple):
    """ComfyUI's names of the pictures of one pass."""

    start: str = ""
    """What it begins with; "" where that is noise alone."""
    mask: str = ""
    """In the size of its latents: white where they are drawn anew, or how much they change."""
    whole_mask: str = ""
    """The same in pixels, and"""
    masked: str = ""
    """the picture that a model for inpainting sees outside it."""
    controls: tuple[str, ...] = ()
    crop: HiresSizes | None = None
    """What of a larger picture it begins with, where not all."""


def graph_of(
    work: Generate,
    passes: Sequence[ComfyUIPass],
    index: int,
    names: Names,
    seen: Sequence[PassPictures],
) -> ToldGraph:
    """Picture `index` of a request in these passes, with nothing but latents between them. Raises
    Refused for a file that ComfyUI has not.
    """
    nodes = Nodes()
    loaded: dict[ModelFile, Loaded] = {}
    made: Link | None = None
    for step, pictures in zip(passes, seen, strict=True):
        if step.checkpoint not in loaded:
            loaded[step.checkpoint] = load(nodes, work, names, step.checkpoint)
        models = loaded[step.checkpoint]
        if made is not None:
            made = _enlarged(nodes, work, made)
        made = _drawn(nodes, work, step, index, names, models, pictures, made)
        vae = models.vae
    picture = nodes.link("VAEDecode", samples=made, vae=vae)
    nodes.add(names.saver, images=picture)
    return nodes.told


def upscaling(names: Names, upscaler: ModelFile, picture: str, steps: float) -> ToldGraph:
    """A picture under the network of an upscaler, rounded to the nearest of 256 greys."""
    nodes = Nodes()
    network = nodes.link("UpscaleModelLoader", model_name=names.of(upscaler))
    before = nodes.link("LoadImage", image=picture)
    node = nodes.add("ImageUpscaleWithModel", upscale_model=network, image=before)
    nodes.work[node] = NodeWork("enlarging", steps)
    nodes.add(names.saver, images=_rounded(nodes, [node, 0]))
    return nodes.told


def _rounded(nodes: Nodes, picture: Link) -> Link:
    """Half a grey lighter: what hands pictures out cuts fractions off. ComfyUI has no node that
    adds, but one that takes away.
    """
    grey = nodes.link("EmptyImage", width=LATENT, height=LATENT, batch_size=1, color=0x010101)
    inverted = nodes.link("ImageInvert", image=picture)
    less = nodes.link(
        "ImageBlend", image1=inverted, image2=grey, blend_factor=0.5, blend_mode="difference"
    )
    return nodes.link("ImageInvert", image=less)


def _enlarged(nodes: Nodes, work: Generate, latents: Link) -> Link:
    """Latents at the size of the hires pass."""
    sizes = hires.sizes_of(work.request)
    name = work.request.hires_upscaler or hires.LATENT
    wide, high = (side // LATENT * LATENT for side in sizes.enlarged)
    larger = nodes.link(
        "LatentUpscale",
        samples=latents,
        upscale_method=LATENT_METHODS[name],
        width=wide,
        height=high,
        crop="disabled",
    )
    return _cut_out(nodes, larger, sizes)


def _cut_out(nodes: Nodes, latents: Link, sizes: HiresSizes) -> Link:
    """The middle of latents; of an odd number the more goes from right and below."""
    enlarged = [side // LATENT for side in sizes.enlarged]
    made = [side // LATENT for side in sizes.made]
    if enlarged == made:
        return latents
    left, top = ((large - small) // 2 for large, small in zip(enlarged, made, strict=True))
    return nodes.link(
        "LatentCrop",
        samples=latents,
        width=sizes.made[0],
        height=sizes.made[1],
        x=left * LATENT,
        y=top * LATENT,
    )


def _drawn(
    nodes: Nodes,
    work: Generate,
    step: ComfyUIPass,
    index: int,
    names: Names,
    models: Loaded,
    seen: PassPictures,
    over: Link | None,
) -> Link:
    """The latents that one pass makes; `over` are those that it goes over."""
    request, model, family = step.request, models.model, family_of(step.checkpoint)
    begun = over is not None or bool(seen.start)
    words = {one.name: names.of(one) for one in work.embeddings}
    wanted, unwanted = (
        nodes.link("CLIPTextEncode", clip=models.clip, text=spelled(text, words))
        for text in (request.prompt, request.negative_prompt)
    )
    if family.guidance == "distilled":
        wanted = nodes.link("FluxGuidance", conditioning=wanted, guidance=request.guidance_scale)
    for number, use in enumerate(request.controls):
        wanted, unwanted = _steered(
            *(nodes, step, use, work.controlnets[number], names),
            *(seen.controls[number], wanted, unwanted),
            begun=begun,
        )
    if over is not None:
        start = over
    elif seen.start:
        picture = nodes.link("LoadImage", image=seen.start)
        start = nodes.link("VAEEncode", pixels=picture, vae=models.vae)
        if seen.crop is not None:
            start = _cut_out(nodes, start, seen.crop)
    else:
        sides = {"width": request.width, "height": request.height}
        empty = "EmptySD3LatentImage" if family.prediction == "flow" else "EmptyLatentImage"
        start = nodes.link(empty, batch_size=1, **sides)
    if seen.masked:
        told = nodes.add(
            "InpaintModelConditioning",
            positive=wanted,
            negative=unwanted,
            vae=models.vae,
            pixels=nodes.link("LoadImage", image=seen.masked),
            mask=nodes.link("LoadImageMask", image=seen.whole_mask, channel="red"),
            noise_mask=False,
        )
        wanted, unwanted = [told, 0], [told, 1]
    if seen.mask:
        mask = nodes.link("LoadImageMask", image=seen.mask, channel="red")
        if request.masked_content == "latent nothing":
            start = _nothing_in(nodes, request.width, request.height, start, mask)
        start = nodes.link("SetLatentNoiseMask", samples=start, mask=mask)
        if request.differential == "on":
            model = nodes.link("DifferentialDiffusion", model=model)
    sampler, scheduler = theirs(request)
    drawn = nodes.add(
        SAMPLER,
        model=model,
        seed=request.seeds[index],
        steps=request.steps,
        cfg=request.guidance_scale if family.guidance == "cfg" else 1.0,
        sampler_name=sampler,
        scheduler=scheduler,
        positive=wanted,
        negative=unwanted,
        latent_image=start,
        denoise=request.denoising_strength if begun else 1.0,
    )
    nodes.work[drawn] = NodeWork(step.stage, step.steps)
    return [drawn, 0]


def _nothing_in(nodes: Nodes, width: int, height: int, latents: Link, mask: Link) -> Link:
    empty = nodes.link("EmptyLatentImage", batch_size=1, width=width, height=height)
    return nodes.link(
        "LatentCompositeMasked",
        destination=latents,
        source=empty,
        x=0,
        y=0,
        resize_source=False,
        mask=mask,
    )


def _steered(
    nodes: Nodes,
    step: ComfyUIPass,
    use: ControlUse,
    file: ModelFile,
    names: Names,
    picture: str,
    wanted: Link,
    unwanted: Link,
    *,
    begun: bool,
) -> tuple[Link, Link]:
    """What is wanted and what is not, with a control picture."""
    net = nodes.link("ControlNetLoader", control_net_name=names.of(file))
    if file.variant.startswith("union"):
        kind = UNION_TYPES[use.kind or USUAL_KIND]
        net = nodes.link("SetUnionControlNetType", control_net=net, type=kind)
    shown = nodes.link("LoadImage", image=picture)
    start, end = shares(step.request, use, begun=begun)
    steered = nodes.add(
        "ControlNetApplyAdvanced",
        positive=wanted,
        negative=unwanted,
        control_net=net,
        image=shown,
        strength=use.scale,
        start_percent=start,
        end_percent=end,
    )
    return [steered, 0], [steered, 1]
