"""Graphs as ComfyUI writes them, in both of its formats, for tests."""

import json
from typing import Any

Json = dict[str, Any]

TEXT = 'a (cat:1.2), "so: it, is", [sic] {red|blue} AND 灯塔，：'


def node(kind: str, **inputs: Any) -> Json:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def default(**changes: Json) -> Json:
    """ComfyUI's default workflow, in the API format, with nodes added or replaced."""
    return {
        "3": node(
            "KSampler",
            seed=156680208700286,
            steps=20,
            cfg=8,
            sampler_name="dpmpp_2m",
            scheduler="karras",
            denoise=1,
            model=["4", 0],
            positive=["6", 0],
            negative=["7", 0],
            latent_image=["5", 0],
        ),
        "4": node("CheckpointLoaderSimple", ckpt_name="SD1.5\\dream_8.safetensors"),
        "5": node("EmptyLatentImage", width=512, height=768, batch_size=2),
        "6": node("CLIPTextEncode", text=TEXT, clip=["4", 1]),
        "7": node("CLIPTextEncode", text="fog, embedding:easynegative.pt,", clip=["4", 1]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", filename_prefix="ComfyUI", images=["8", 0]),
        **changes,
    }


def flux(**changes: Json) -> Json:
    """The workflow of ComfyUI's examples for Flux.1, with a sampler of parts."""
    return {
        "6": node("CLIPTextEncode", text="a cat", clip=["11", 0]),
        "8": node("VAEDecode", samples=["13", 0], vae=["10", 0]),
        "9": node("SaveImage", images=["8", 0]),
        "10": node("VAELoader", vae_name="ae.safetensors"),
        "11": node(
            "DualCLIPLoader", clip_name1="t5xxl.safetensors", clip_name2="clip_l.safetensors"
        ),
        "12": node("UNETLoader", unet_name="flux1-dev.safetensors", weight_dtype="default"),
        "13": node(
            "SamplerCustomAdvanced",
            noise=["25", 0],
            guider=["22", 0],
            sampler=["16", 0],
            sigmas=["17", 0],
            latent_image=["27", 0],
        ),
        "16": node("KSamplerSelect", sampler_name="euler"),
        "17": node("BasicScheduler", scheduler="simple", steps=20, denoise=1, model=["30", 0]),
        "22": node("BasicGuider", model=["30", 0], conditioning=["26", 0]),
        "25": node("RandomNoise", noise_seed=219670278747233),
        "26": node("FluxGuidance", guidance=2.5, conditioning=["6", 0]),
        "27": node("EmptySD3LatentImage", width=1024, height=1024, batch_size=1),
        "30": node("ModelSamplingFlux", max_shift=1.15, base_shift=0.5, model=["31", 0]),
        "31": node("LoraLoaderModelOnly", lora_name="ink.safetensors", strength_model=0.7,
                   model=["12", 0]),
        **changes,
    }  # fmt: skip


def written(graph: Json) -> dict[str, str]:
    """As SaveImage writes it."""
    return {"prompt": json.dumps(graph)}


def workflow(nodes: list[Json], links: list[Any], **more: Any) -> dict[str, str]:
    """As the editor keeps it."""
    table = {"last_node_id": 9, "nodes": nodes, "links": links, "version": 0.4, **more}
    return {"workflow": json.dumps(table)}


def ui(id_: int, kind: str, values: Any = (), *, mode: int = 0, **inputs: Any) -> Json:
    """A node of the editor; inputs are the numbers of links."""
    kinds = {"model": "MODEL", "clip": "CLIP"}
    return {
        "id": id_,
        "type": kind,
        "mode": mode,
        "inputs": [
            {"name": name, "type": kinds.get(name, name), "link": link}
            for name, link in inputs.items()
        ],
        "outputs": [{"name": "MODEL", "type": "MODEL"}, {"name": "CLIP", "type": "CLIP"}],
        "widgets_values": list(values) if isinstance(values, tuple) else values,
    }


NODES = [
    ui(3, "KSampler", (7, "randomize", 20, 8, "euler", "normal", 1),
       model=1, positive=4, negative=6, latent_image=2),
    ui(4, "CheckpointLoaderSimple", ("dream_8.safetensors",)),
    ui(5, "EmptyLatentImage", (512, 768, 1)),
    ui(6, "CLIPTextEncode", ("a cat",), clip=3),
    ui(7, "CLIPTextEncode", ("fog",), clip=5),
    ui(8, "VAEDecode", (), samples=7, vae=8),
    ui(9, "SaveImage", ("ComfyUI",), images=9),
]  # fmt: skip
LINKS: list[Any] = [
    [1, 4, 0, 3, 0, "MODEL"],
    [2, 5, 0, 3, 3, "LATENT"],
    [3, 4, 1, 6, 0, "CLIP"],
    [4, 6, 0, 3, 1, "CONDITIONING"],
    [5, 4, 1, 7, 0, "CLIP"],
    [6, 7, 0, 3, 2, "CONDITIONING"],
    [7, 3, 0, 8, 0, "LATENT"],
    [8, 4, 2, 8, 1, "VAE"],
    [9, 8, 0, 9, 0, "IMAGE"],
]
