"""What a graph of ComfyUI's drew its picture with, as options of a request."""

import re
from collections.abc import Mapping
from typing import Any, Final

from generation import samplers
from generation.enlarging import LANCZOS, PLAIN
from generation.hires import NEAREST_EXACT
from generation.info import json_text
from generation.info.comfyui import graph, ui_format
from generation.info.comfyui.chains import GraphChains, GraphModel, SaidText
from generation.info.comfyui.graph import GraphNode, NodeGraph
from generation.info.comfyui.passes import BetweenPasses, GraphPasses, SamplerPass
from generation.info.comfyui.values import GraphValues
from generation.info.found import Info, NamedFile, Note, Said
from generation.models import ModelKind
from generation.prompts import take_tags
from generation.refusal import Refused
from generation.request_fields import LORAS_MAX
from generation.request_options import exact
from generation.request_parts import LoraUse

PROGRAM: Final = "ComfyUI"
ON_GPU: Final = "_gpu"
"""How samplers' names end whose noise comes from the graphics card."""
IGNORED_MAX: Final = 40
LATENT_METHODS: Final[Mapping[str, str]] = {
    "nearest-exact": NEAREST_EXACT,
    "nearest": "Latent (nearest)",
    "bilinear": "Latent",
    "bicubic": "Latent (bicubic)",
}
"""Our names for ComfyUI's ways to enlarge latents."""
PICTURE_METHODS: Final[Mapping[str, str]] = {
    "lanczos": LANCZOS,
    "bicubic": LANCZOS,
    "bilinear": LANCZOS,
    "area": LANCZOS,
    "nearest-exact": PLAIN[1],
}
"""And to enlarge pictures without a network."""
_FACTOR: Final = re.compile(r"(?:^|[^0-9a-z])([2348])x|x([2348])(?![0-9])", re.IGNORECASE)
_EMBEDDING: Final = re.compile(r"embedding:(?P<name>[^\s,():<>]+)")
_WORD_ENDINGS: Final = (".safetensors", ".pt", ".bin")


def read(texts: Mapping[str, str], size: tuple[int, int] | None) -> Info | None:
    """What the graph says that draws a picture of that size; None where there is no graph.

    Raises Refused: data_damaged, data_too_long, info_tangled, info_no_sampler.
    """
    found: NodeGraph | None = None
    text = ""
    for keyword, reader in (("prompt", graph.of_api), ("workflow", ui_format.of_workflow)):
        if found is None and keyword in texts:
            text = texts[keyword]
            table = json_text.loads(text) if text.startswith("{") else None
            found = reader(table) if isinstance(table, dict) else None
    if found is None:
        if {"prompt", "workflow"} & texts.keys() and text.startswith("{"):
            raise Refused("info_no_sampler")
        return None
    return _Reading(found, size).info(text)


class _Reading:
    def __init__(self, found: NodeGraph, size: tuple[int, int] | None) -> None:
        self._size = size
        self._values = GraphValues(found)
        self._chains = GraphChains(self._values)
        self._passes = GraphPasses(self._values, self._chains)
        self._given: dict[str, Said] = {}
        self._files: dict[Any, NamedFile] = {}
        self._beside: list[NamedFile] = []
        self._notes: dict[str, None] = {}
        self._words: dict[str, None] = {}

    def info(self, text: str) -> Info:
        """All of it."""
        passes, between, start = self._chosen()
        last, first = passes[0], passes[-1]
        model, positive, negative = self._drawn_by(first)
        self._sampling(first)
        self._sizes(start)
        self._guided(first, positive, model)
        if model.name:
            self._files["model"] = NamedFile(ModelKind.CHECKPOINT, model.name[:500])
        if model.clip_layer is not None and model.clip_layer < -1:
            self._given["clip_skip"] = -model.clip_layer
        self._decoded(next((each.vae for each in between if each.vae is not None), None))
        if len(passes) > 1:
            self._more_passes(passes, between, model, positive)
        if first.denoise < 1 or any(each.masked for each in between):
            self._notes["info_start_picture"] = None
        if between[0].enlarges:
            self._notes["info_enlarged_after"] = None
            self._upscaler_beside(between[0])
        self._controlled(positive)
        prompt, negative_prompt = self._plain(positive.text), self._plain(negative.text)
        if last is not first and last.seed is not None and last.seed != first.seed:
            self._notes["info_second_seed"] = None
        return Info(
            program=PROGRAM,
            prompt=prompt,
            negative_prompt=negative_prompt,
            given=self._given,
            files=self._files,
            loras=self._loras(model),
            embeddings=tuple(NamedFile(ModelKind.EMBEDDING, word) for word in self._words),
            beside=tuple(self._beside),
            conventions="comfyui",
            ignored=tuple(self._chains.ignored)[:IGNORED_MAX],
            notes=tuple(Note(code) for code in (*self._notes, *self._chains.notes)),
            text=text,
        )

    # which picture

    def _chosen(self) -> tuple[list[SamplerPass], list[BetweenPasses], GraphNode | None]:
        """The passes behind the output that this file is of: the one whose size it has, or else the
        first that draws.
        """
        found = []
        for output in self._passes.outputs():
            before = dict(self._chains.ignored)
            passes, between, start = self._passes.behind(output)
            if passes:
                found.append((passes, between, start, dict(self._chains.ignored)))
            self._chains.ignored = before
        if not found:
            raise Refused("info_no_sampler")
        fitting = [each for each in found if self._size and self._made(each[1], each[2])]
        passes, between, start, ignored = (fitting or found)[0]
        self._chains.ignored = ignored
        return passes, between, start

    def _made(self, between: list[BetweenPasses], start: GraphNode | None) -> bool:
        """Whether that makes pictures of the file's size, as far as it is said."""
        given = {} if start is None else self._chains.given(start)
        if "width" not in given or "height" not in given:
            return False
        wide, high = float(given["width"]), float(given["height"])
        for each in reversed(between):
            if each.size is not None:
                wide, high = each.size
            elif each.factor is not None:
                wide, high = wide * each.factor, high * each.factor
            elif each.enlarges:
                return False
        return self._size == (int(wide), int(high))

    # what it is drawn with

    def _drawn_by(self, of: SamplerPass) -> tuple[GraphModel, SaidText, SaidText]:
        positive = self._chains.text(of.positive, "positive")
        negative = self._chains.text(of.negative, "negative")
        return self._chains.model(of.model, positive.clip), positive, negative

    def _sampling(self, of: SamplerPass) -> None:
        sampler, schedule = self._sampler(of)
        given: dict[str, Said | None] = {
            "seed": of.seed,
            "steps": of.steps,
            "sampler": sampler or None,
            "schedule": schedule or None,
        }
        self._given |= {name: value for name, value in given.items() if value is not None}

    def _sampler(self, of: SamplerPass) -> tuple[str, str]:
        """Our names where these are known, else ComfyUI's."""
        name = of.sampler
        if name.endswith(ON_GPU):
            name = name.removesuffix(ON_GPU)
            self._notes["info_gpu_noise"] = None
        known = samplers.read(name)
        schedule = samplers.schedule(of.schedule) if of.schedule else None
        return known[0] if known else name[:100], schedule or of.schedule[:100]

    def _sizes(self, start: GraphNode | None) -> None:
        given = {} if start is None else self._chains.given(start)
        drawn = "width" in given and "height" in given
        if start is None or not drawn or "image" in start.inputs:
            self._notes["info_start_picture"] = None
            if self._size is not None:
                self._given |= {"width": self._size[0], "height": self._size[1]}
            return
        self._given |= {name: given[name] for name in ("width", "height")}
        if given.get("count", 1) > 1:
            self._given["count"] = given["count"]

    def _guided(self, of: SamplerPass, positive: SaidText, model: GraphModel) -> None:
        """CFG; and of models that are told it, what they are told."""
        if positive.guidance is not None:
            self._given["distilled"] = positive.guidance
        if of.cfg is not None:
            self._given["guidance"] = of.cfg
        elif positive.guidance is None and "flux" not in model.name.casefold():
            # a guider without a number has none
            self._given["guidance"] = 1.0

    def _decoded(self, link: Any) -> None:
        name = self._chains.name_of(link, "vae_name")
        if name and name not in ("Baked VAE", "pixel_space"):
            self._files["vae"] = NamedFile(ModelKind.VAE, name[:500])

    def _loras(self, model: GraphModel) -> tuple[LoraUse, ...]:
        found: dict[str, LoraUse] = {}
        for lora in model.loras.values():
            if not lora.model and not lora.clip:
                continue
            te = None if lora.clip == lora.model else lora.clip
            use = LoraUse(lora.name[:500], lora.model, te)
            if lora.name in found or len(found) == LORAS_MAX:
                self._notes["info_loras_left_out"] = None
            else:
                found[lora.name] = use
        return tuple(found.values())

    def _controlled(self, positive: SaidText) -> None:
        if positive.controls:
            self._notes["info_control_picture"] = None
        for name in positive.controls:
            if name:
                self._beside.append(NamedFile(ModelKind.CONTROLNET, name[:500]))

    def _upscaler_beside(self, between: BetweenPasses) -> None:
        if between.upscaler and between.upscaler not in PICTURE_METHODS:
            self._beside.append(NamedFile(ModelKind.UPSCALER, between.upscaler[:500]))

    # several passes

    def _more_passes(
        self,
        passes: list[SamplerPass],
        between: list[BetweenPasses],
        model: GraphModel,
        positive: SaidText,
    ) -> None:
        """A refiner's steps, or a hires pass; what is more than two is left out."""
        first, second = passes[-1], passes[-2]
        way = between[-2]
        if len(passes) > 2:
            self._notes["info_more_passes"] = None
        other, text, negative = self._drawn_by(second)
        if way.enlarges:
            self._hires(second, way, other, text, negative, first, model, positive)
        elif other.name and other.name != model.name and second.steps:
            self._files["refiner"] = NamedFile(ModelKind.CHECKPOINT, other.name[:500])
            self._given["refiner_switch"] = min(1.0, second.start / second.steps)
        elif (first.end or 0) == 0 or second.start != first.end:
            self._notes["info_more_passes"] = None

    def _hires(
        self,
        second: SamplerPass,
        way: BetweenPasses,
        model: GraphModel,
        text: SaidText,
        negative: SaidText,
        first: SamplerPass,
        first_model: GraphModel,
        first_text: SaidText,
    ) -> None:
        size = self._enlarged(way)
        if size is None:
            self._notes["info_second_pass"] = None
            return
        self._given |= {"hires": size, "hires_denoising": second.denoise}
        if way.latent_method:
            name = LATENT_METHODS.get(way.latent_method)
            if name is None:
                self._chains.ignored[way.latent_method] = None
            self._given["hires_upscaler"] = name or NEAREST_EXACT
        else:
            name = PICTURE_METHODS.get(way.upscaler, way.upscaler) or LANCZOS
            self._files["hires_upscaler"] = NamedFile(ModelKind.UPSCALER, name[:500])
        if second.steps is not None and second.steps != first.steps:
            self._given["hires_steps"] = second.steps
        if second.cfg is not None and second.cfg != first.cfg:
            self._given["hires_guidance"] = second.cfg
        sampling = {"hires_sampler": 0, "hires_schedule": 1}
        ours, before = self._sampler(second), self._sampler(first)
        for option, at in sampling.items():
            if ours[at] and ours[at] != before[at]:
                self._given[option] = ours[at]
        if text.text.strip() and text.text != first_text.text:
            self._given["hires_prompt"] = self._plain(text.text)
        if model.name and model.name != first_model.name:
            self._files["hires_model"] = NamedFile(ModelKind.CHECKPOINT, model.name[:500])
        said = negative.text.strip()
        if said and self._plain(said) != self._plain(
            self._chains.text(first.negative, "negative").text
        ):
            self._given["hires_negative_prompt"] = self._plain(said)

    def _enlarged(self, way: BetweenPasses) -> str | None:
        """To what it is enlarged, as a hires pass has it."""
        if way.size is not None:
            return f"{way.size[0]}x{way.size[1]}"
        known = _FACTOR.search(way.upscaler)
        factor = way.factor
        if known is not None:
            factor = float(known[1] or known[2]) * (factor or 1.0)
        elif way.upscaler and way.upscaler not in PICTURE_METHODS:
            # only the network itself knows by how much
            return f"{self._size[0]}x{self._size[1]}" if self._size is not None else None
        return exact(factor) if factor is not None and 1 <= factor <= 16 else None

    def _plain(self, text: str) -> str:
        """A text without what only ComfyUI, or only its helpers, would read: learned words are
        called by their names here, and a LoRA's tag loads none there.
        """

        def called(match: re.Match[str]) -> str:
            # a full stop or the like that stands behind belongs to the text
            name = match["name"].replace("\\", "/").rpartition("/")[2]
            ending = next((end for end in _WORD_ENDINGS if name.casefold().endswith(end)), "")
            name = name[: len(name) - len(ending)]
            self._words[name[:500]] = None
            return name

        text = _EMBEDDING.sub(called, text)
        try:
            plain, tags = take_tags(text)
        except Refused:
            return text.strip()
        if tags:
            self._notes["info_tags_unread"] = None
        return plain.strip()
