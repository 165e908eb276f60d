"""The passes of a graph: each sampler with what it takes, the last first, and what lies between."""

from typing import Any, Final

import msgspec

from generation.info.comfyui.chains import PASSES, PICTURES, GraphChains
from generation.info.comfyui.graph import GraphNode, NodeLink
from generation.info.comfyui.values import GraphValues

SAVING: Final = ("SaveImage", "Image Save", "SaveImageExtended", "Image Saver", "SaveAnimatedWEBP")
PASSES_MAX: Final = 4
BETWEEN_MAX: Final = 100
ANY_LATENT: Final = PASSES


class SamplerPass(msgspec.Struct, kw_only=True):
    """One sampler, as it is set."""

    node: GraphNode
    seed: int | None = None
    steps: int | None = None
    cfg: float | None = None
    sampler: str = ""
    schedule: str = ""
    denoise: float = 1.0
    start: int = 0
    end: int | None = None
    model: NodeLink | None = None
    positive: NodeLink | None = None
    negative: NodeLink | None = None
    latent: NodeLink | None = None


class BetweenPasses(msgspec.Struct, kw_only=True):
    """What happens to a picture, or to latents, between a pass and the next or the file."""

    latent_method: str = ""
    """How latents are enlarged; empty where they are not."""
    upscaler: str = ""
    """What enlarges a picture: a network's file, or how it is interpolated."""
    factor: float | None = None
    size: tuple[int, int] | None = None
    """The last that is said of it, if any is."""
    vae: NodeLink | None = None
    masked: bool = False

    @property
    def enlarges(self) -> bool:
        return bool(self.latent_method or self.upscaler or self.factor or self.size)


class GraphPasses:
    """Finds the passes behind a picture."""

    def __init__(self, values: GraphValues, chains: GraphChains) -> None:
        self._values = values
        self._chains = chains

    def outputs(self) -> list[GraphNode]:
        """The nodes that save or show pictures, those that save first."""
        nodes = self._values.graph.nodes.values()
        used = {link.node for node in nodes for _, link in node.links()}
        found = [
            node
            for node in nodes
            if node.link("images", "image") is not None
            and (node.id not in used or node.kind in (*SAVING, "PreviewImage"))
        ]
        return sorted(found, key=lambda node: (node.kind not in SAVING, "Preview" in node.kind))

    def behind(
        self, output: GraphNode
    ) -> tuple[list[SamplerPass], list[BetweenPasses], GraphNode | None]:
        """The passes, the last first; what lies behind each; and what the first begins with: an
        empty latent, or a picture that was loaded.
        """
        passes: list[SamplerPass] = []
        between = [BetweenPasses()]
        link, seen = output.link("images", "image"), 0
        while link is not None and seen < BETWEEN_MAX and len(passes) < PASSES_MAX:
            seen += 1
            source = self._values.source(link)
            if source is None:
                return passes, between, None
            node, _ = source
            found = self._pass(node)
            if found is not None:
                passes.append(found)
                between.append(BetweenPasses())
                link = found.latent
                continue
            onward = self._between(node, between[-1])
            if onward is None:
                return passes, between, node
            link = onward
        return passes, between, None

    def _between(self, node: GraphNode, between: BetweenPasses) -> NodeLink | None:
        """Take what a node does on the way; where it has its picture or latents from."""
        values, kind = self._values, node.kind
        onward = node.link(*ANY_LATENT) or node.link(*PICTURES)
        if onward is None:
            return None
        if kind.startswith("LatentUpscale") or "LatentUpscale" in kind:
            between.latent_method = values.text(node, "upscale_method") or "nearest-exact"
            self._sized(node, between)
        elif node.link("upscale_model") is not None:
            name = self._chains.name_of(node.link("upscale_model"), "model_name")
            between.upscaler = name or between.upscaler
            self._sized(node, between)
        elif kind.startswith("ImageScale") or "upscale_method" in node.inputs:
            between.upscaler = between.upscaler or values.text(node, "upscale_method")
            self._sized(node, between)
        elif kind.startswith(("VAEDecode", "VAEEncode")):
            between.vae = between.vae or node.link("vae")
            between.masked |= node.link("mask") is not None
        elif kind == "SetLatentNoiseMask":
            between.masked = True
        else:
            self._chains.ignored[kind] = None
        return onward

    def _sized(self, node: GraphNode, between: BetweenPasses) -> None:
        factor = self._values.number(node, "scale_by", "upscale_by", "factor")
        wide, high = (self._chains.whole(node, name) for name in ("width", "height"))
        if between.size is not None:
            return
        if wide is not None and high is not None:
            between.size = (wide, high)
        elif factor is not None:
            between.factor = float(factor) * (between.factor or 1.0)

    def _pass(self, node: GraphNode) -> SamplerPass | None:
        if node.link("guider") is not None:
            return self._advanced(node)
        latent = node.link("latent_image", "latent", "samples", "optional_latent")
        takes = node.link("positive") is not None and node.link("model") is not None
        if takes and (node.link("sigmas") is not None or "sampler_name" in node.inputs):
            return self._plain(node, latent)
        if "sampler_name" in node.inputs and "KSampler" in node.kind:
            return self._plain(node, latent)
        return None

    def _plain(self, node: GraphNode, latent: NodeLink | None) -> SamplerPass:
        values, whole = self._values, self._chains.whole
        found = SamplerPass(
            node=node,
            seed=whole(node, "seed", "noise_seed"),
            steps=whole(node, "steps"),
            cfg=_float(values.number(node, "cfg")),
            sampler=values.text(node, "sampler_name"),
            schedule=values.text(node, "scheduler"),
            start=whole(node, "start_at_step") or 0,
            end=whole(node, "end_at_step"),
            model=node.link("model"),
            positive=node.link("positive"),
            negative=node.link("negative"),
            latent=latent,
        )
        denoise = values.number(node, "denoise")
        found.denoise = 1.0 if denoise is None else float(denoise)
        self._from_sigmas(node, found)
        return found

    def _advanced(self, node: GraphNode) -> SamplerPass:
        values = self._values
        found = SamplerPass(node=node, latent=node.link("latent_image"))
        noise = values.source(node.link("noise"))
        if noise is not None:
            found.seed = self._chains.whole(noise[0], "noise_seed", "seed")
        guider = values.source(node.link("guider"))
        if guider is not None:
            found.model = guider[0].link("model")
            found.positive = guider[0].link("positive", "conditioning", "cond1")
            found.negative = guider[0].link("negative")
            found.cfg = _float(values.number(guider[0], "cfg"))
            if guider[0].kind not in ("CFGGuider", "BasicGuider"):
                self._chains.ignored[guider[0].kind] = None
        self._from_sigmas(node, found)
        return found

    def _from_sigmas(self, node: GraphNode, found: SamplerPass) -> None:
        """Sampler and steps that other nodes give."""
        values = self._values
        sampler = values.source(node.link("sampler"))
        if sampler is not None:
            name = values.text(sampler[0], "sampler_name")
            found.sampler = name or _named_by(sampler[0].kind)
        link = node.link("sigmas")
        for _ in range(10):
            sigmas = values.source(link)
            if sigmas is None:
                return
            of = sigmas[0]
            steps, denoise = self._chains.whole(of, "steps"), values.number(of, "denoise")
            if steps is not None:
                found.steps = steps
                found.schedule = values.text(of, "scheduler") or _named_by(of.kind)
                found.denoise = 1.0 if denoise is None else float(denoise)
                return
            self._chains.ignored[of.kind] = None
            link = of.link("sigmas")


KINDS_OF: Final[dict[str, str]] = {
    "KarrasScheduler": "karras",
    "ExponentialScheduler": "exponential",
    "PolyexponentialScheduler": "Polyexponential",
    "AlignYourStepsScheduler": "Align Your Steps",
    "BetaSamplingScheduler": "beta",
    "SDTurboScheduler": "sgm_uniform",
    "Flux2Scheduler": "simple",
    "SamplerEulerAncestral": "euler_ancestral",
    "SamplerLMS": "lms",
    "SamplerDPMPP_2M_SDE": "dpmpp_2m_sde",
    "SamplerDPMPP_3M_SDE": "dpmpp_3m_sde",
    "SamplerDPMPP_SDE": "dpmpp_sde",
    "SamplerDPMPP_2S_Ancestral": "dpmpp_2s_ancestral",
    "SamplerLCMUpscale": "lcm",
    "SamplerER_SDE": "er_sde",
}
"""Samplers and schedules that are nodes of their own."""


def _named_by(kind: str) -> str:
    return KINDS_OF.get(kind, kind)


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
