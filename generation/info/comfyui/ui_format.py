"""A workflow as ComfyUI's editor keeps it, made the graph that it would run.

GraphValues stand in lists there, in the order of a node's widgets. Nodes that are muted go, and for
those that are bypassed what comes in goes out; subgraphs are taken apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from generation.info import json_text
from generation.info.comfyui.graph import KIND_MAX, NODES_MAX, GraphNode, NodeGraph, NodeLink
from generation.refusal import Refused

MUTED, BYPASSED = 2, 4
SUBGRAPHS_DEEP: Final = 8
INPUTS, OUTPUTS = "-10", "-20"
"""The nodes that stand for what goes into a subgraph and comes out of it."""
SEEDS: Final = frozenset(("seed", "noise_seed"))
"""Widgets behind which the editor keeps another: what happens to the seed after each run."""
AFTER: Final = frozenset(("fixed", "increment", "decrement", "randomize"))
WIDGETS: Final[Mapping[str, tuple[str, ...]]] = {
    "KSampler": ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        *("add_noise", "noise_seed", "steps", "cfg", "sampler_name", "scheduler"),
        *("start_at_step", "end_at_step", "return_with_leftover_noise"),
    ),
    "KSampler (Efficient)": ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "SamplerCustom": ("add_noise", "noise_seed", "cfg"),
    "RandomNoise": ("noise_seed",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "KarrasScheduler": ("steps", "sigma_max", "sigma_min", "rho"),
    "ExponentialScheduler": ("steps", "sigma_max", "sigma_min"),
    "Flux2Scheduler": ("steps", "width", "height"),
    "KSamplerSelect": ("sampler_name",),
    "CFGGuider": ("cfg",),
    "FluxGuidance": ("guidance",),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "UnetLoaderGGUF": ("unet_name",),
    "VAELoader": ("vae_name",),
    "CLIPLoader": ("clip_name", "type", "device"),
    "DualCLIPLoader": ("clip_name1", "clip_name2", "type", "device"),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
    "CLIPTextEncode": ("text",),
    "CLIPTextEncodeFlux": ("clip_l", "t5xxl", "guidance"),
    "CLIPTextEncodeSDXL": (
        *("width", "height", "crop_w", "crop_h", "target_width", "target_height"),
        *("text_g", "text_l"),
    ),
    "CLIPTextEncodeSDXLRefiner": ("ascore", "width", "height", "text"),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "EmptySD3LatentImage": ("width", "height", "batch_size"),
    "EmptyFlux2LatentImage": ("width", "height", "batch_size"),
    "LatentUpscale": ("upscale_method", "width", "height", "crop"),
    "LatentUpscaleBy": ("upscale_method", "scale_by"),
    "ImageScale": ("upscale_method", "width", "height", "crop"),
    "ImageScaleBy": ("upscale_method", "scale_by"),
    "UpscaleModelLoader": ("model_name",),
    "ControlNetLoader": ("control_net_name",),
    "ControlNetApply": ("strength",),
    "ControlNetApplyAdvanced": ("strength", "start_percent", "end_percent"),
    "LoadImage": ("image", "upload"),
    "PrimitiveNode": ("value",),
    "PrimitiveInt": ("value",),
    "PrimitiveFloat": ("value",),
    "PrimitiveString": ("value",),
    "PrimitiveStringMultiline": ("value",),
    "Seed (rgthree)": ("seed",),
    "SetNode": ("name",),
    "GetNode": ("name",),
    "Efficient Loader": (
        *("ckpt_name", "vae_name", "clip_skip", "lora_name", "lora_model_strength"),
        *("lora_clip_strength", "positive", "negative", "token_normalization"),
        *("weight_interpretation", "empty_latent_width", "empty_latent_height", "batch_size"),
    ),
}
"""The widgets of classes in order, where the workflow itself does not name them."""


def of_workflow(table: Mapping[str, Any]) -> NodeGraph | None:
    """The graph of a workflow; None where it is none. Raises Refused."""
    if not isinstance(table.get("nodes"), list):
        return None
    definitions = table.get("definitions")
    subgraphs = definitions.get("subgraphs") if isinstance(definitions, dict) else None
    known = {each["id"]: each for each in _tables(subgraphs) if isinstance(each.get("id"), str)}
    flat = _Flat(known)
    flat.add(table, "", {}, 0)
    return NodeGraph(flat.nodes) if flat.nodes else None


class _Flat:
    """The nodes of a workflow and of the subgraphs in it, as one graph."""

    def __init__(self, subgraphs: Mapping[str, Mapping[str, Any]]) -> None:
        self._subgraphs = subgraphs
        self.nodes: dict[str, GraphNode] = {}
        self._count = 0

    def add(
        self, table: Mapping[str, Any], prefix: str, given: Mapping[int, NodeLink], depth: int
    ) -> dict[int, NodeLink]:
        """Take the nodes in; `given` are what goes into a subgraph, by slot. What comes out of it
        is returned so.
        """
        if depth > SUBGRAPHS_DEEP:
            raise Refused("info_tangled")
        sources: dict[str, NodeLink] = {}
        going_out: dict[int, NodeLink] = {}
        for number, source, slot, target, at in _links(table.get("links")):
            link = given.get(slot) if source == INPUTS else NodeLink(prefix + source, slot)
            if link is None:
                continue
            sources[number] = link
            if target == OUTPUTS:
                going_out[at] = link
        outer: dict[str, dict[int, NodeLink]] = {}
        for each in _tables(table.get("nodes")):
            self._count += 1
            if self._count > NODES_MAX:
                raise Refused("data_too_long")
            key, kind = f"{prefix}{each.get('id')}", each.get("type")
            if not isinstance(kind, str) or each.get("mode") == MUTED:
                continue
            if kind in self._subgraphs and each.get("mode") != BYPASSED:
                into = {slot: sources[number] for slot, number in _into(each) if number in sources}
                outer[key] = self.add(self._subgraphs[kind], f"{key}:", into, depth + 1)
                continue
            self.nodes[key] = _node(key, kind, each, sources)
        for key, outputs in outer.items():
            # whoever reads of the subgraph reads of what is inside
            ways = {f"out{slot}": link for slot, link in outputs.items()}
            self.nodes[key] = GraphNode(key, "Subgraph", {**ways})
        return going_out


def _node(
    key: str, kind: str, each: Mapping[str, Any], sources: Mapping[str, NodeLink]
) -> GraphNode:
    inputs: dict[str, Any] = dict(_widgets(kind, each))
    for place, entry in enumerate(_tables(each.get("inputs"))):
        name, number = entry.get("name"), str(entry.get("link"))
        if number in sources:
            inputs[name if isinstance(name, str) and name else f"input{place}"] = sources[number]
    if each.get("mode") == BYPASSED:
        kinds = [entry.get("type") for entry in _tables(each.get("outputs"))]
        ways: dict[str, Any] = {}
        for slot, wanted in enumerate(kinds):
            for entry in _tables(each.get("inputs")):
                if entry.get("type") == wanted and str(entry.get("link")) in sources:
                    ways[f"out{slot}"] = sources[str(entry.get("link"))]
                    break
        return GraphNode(key, "Bypassed", ways)
    return GraphNode(key, kind[:KIND_MAX], inputs)


def _widgets(kind: str, each: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    values = each.get("widgets_values")
    if isinstance(values, dict):
        yield from ((name, value) for name, value in values.items() if isinstance(name, str))
        return
    if not isinstance(values, list):
        return
    named = [
        entry["name"]
        for entry in _tables(each.get("inputs"))
        if isinstance(entry.get("widget"), dict) and isinstance(entry.get("name"), str)
    ]
    names: Sequence[str] = WIDGETS.get(kind) or named
    if kind == "Power Lora Loader (rgthree)":
        for place, value in enumerate(values):
            if isinstance(value, dict):
                yield f"lora_{place}", value
        return
    if not names and len(values) == 1:
        names = ("value",)
    at = 0
    for name in names:
        if at >= len(values):
            return
        yield name, values[at]
        at += 1
        if name in SEEDS and at < len(values) and json_text.text(values[at]) in AFTER:
            at += 1


def _links(links: Any) -> Iterator[tuple[str, str, int, str, int]]:
    """Number, source, its slot, target, its slot: in the two forms that links have."""
    for each in links if isinstance(links, list) else ():
        if isinstance(each, list) and len(each) >= 5:
            number, source, slot, target, at = each[:5]
        elif isinstance(each, dict):
            names = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
            number, source, slot, target, at = (each.get(name) for name in names)
        else:
            continue
        from_, to = json_text.whole(slot), json_text.whole(at)
        if from_ is not None and to is not None:
            yield str(number), str(source), from_, str(target), to


def _into(each: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    for slot, entry in enumerate(_tables(each.get("inputs"))):
        if entry.get("link") is not None:
            yield slot, str(entry.get("link"))


def _tables(value: Any) -> Iterator[dict[str, Any]]:
    for each in value if isinstance(value, list) else ():
        if isinstance(each, dict):
            yield each
