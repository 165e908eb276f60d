"""The chains of a graph: what a model is made of, what a text says, where latents and pictures come
from. Each is followed back from where it is used.
"""

from typing import Any, Final

import msgspec

from generation.info import json_text
from generation.info.comfyui.graph import GraphNode, NodeLink
from generation.info.comfyui.values import GraphValues

CHAIN_MAX: Final = 200
"""Nodes of a chain."""
MODEL_NAMES: Final = ("ckpt_name", "unet_name", "base_ckpt_name", "model_name", "gguf_name")
LORA_NAMES: Final = ("lora_name", "lora")
TEXTS: Final = ("text", "populated_text", "text_g", "t5xxl", "clip_g", "prompt", "user_prompt")
PASSES: Final = ("samples", "latent", "latent_image", "latents", "optional_latent", "LATENT")
PICTURES: Final = ("images", "image", "pixels", "IMAGE", "upscaled_image", "image1")
UPSCALERS: Final = ("ImageUpscaleWithModel", "UltimateSDUpscale")
LAYERS: Final = "stop_at_clip_layer"


class GraphLora(msgspec.Struct):
    """A LoRA on a model's chain, on its text encoder's, or on both."""

    name: str
    model: float = 0.0
    clip: float = 0.0


class GraphModel(msgspec.Struct):
    """A checkpoint or a denoiser alone, and what is laid over it."""

    name: str = ""
    loras: dict[str, GraphLora] = {}
    """By the node and the place in it, the first that acts first."""
    clip_layer: int | None = None


class SaidText(msgspec.Struct):
    """What a conditioning says."""

    text: str = ""
    read: bool = False
    """Whether a text was found at all."""
    guidance: float | None = None
    clip: NodeLink | None = None
    controls: list[str] = []


class GraphChains:
    """Follows the chains of one graph; `ignored` are the nodes on them that mean nothing here."""

    def __init__(self, values: GraphValues) -> None:
        self._values = values
        self.ignored: dict[str, None] = {}
        self.notes: dict[str, None] = {}
        """Codes of what can't be kept."""

    # models

    def model(self, link: NodeLink | None, clip: NodeLink | None) -> GraphModel:
        """The model that a sampler takes, and the text encoder that its text was read by."""
        found = GraphModel(loras={})
        found.name = self._loaded(link, found, "model")
        self._loaded(clip, found, "clip")
        found.loras = dict(reversed(found.loras.items()))
        return found

    def _loaded(self, link: NodeLink | None, found: GraphModel, side: str) -> str:
        for _ in range(CHAIN_MAX):
            source = self._values.source(link)
            if source is None:
                return ""
            node, _slot = source
            self._loras(node, found, side)
            layer = self._values.number(node, LAYERS)
            if layer is not None and side == "clip" and found.clip_layer is None:
                found.clip_layer = int(layer)
            onward = node.link(side) or node.link(f"{side}_in", f"base_{side}", f"optional_{side}")
            name = self._values.text(node, *MODEL_NAMES)
            if onward is None:
                if side == "clip" and "clip_skip" in node.inputs and found.clip_layer is None:
                    found.clip_layer = json_text.whole(self._values.number(node, "clip_skip"))
                return name
            if side == "model" and "lora" not in node.kind.casefold():
                self.ignored[node.kind] = None
            link = onward
        return ""

    def _loras(self, node: GraphNode, found: GraphModel, side: str) -> None:
        for place, name, model, clip in self._named_loras(node):
            key = f"{node.id}/{place}"
            lora = found.loras.setdefault(key, GraphLora(name))
            if side == "model":
                lora.model = model
            else:
                lora.clip = clip

    def _named_loras(self, node: GraphNode) -> list[tuple[str, str, float, float]]:
        """Place, name, and the weights for denoiser and text encoder."""
        values, found = self._values, []
        for name in LORA_NAMES:
            lora = values.text(node, name)
            if lora and lora != "None":
                strength = values.number(node, "strength_model", "lora_model_strength", "strength")
                model = 1.0 if strength is None else float(strength)
                strength = values.number(node, "strength_clip", "lora_clip_strength", "strength")
                found.append((name, lora, model, model if strength is None else float(strength)))
                break
        for place, value in node.inputs.items():
            if isinstance(value, dict) and isinstance(value.get("lora"), str):
                # rgthree's: {"on": true, "lora": …, "strength": …, "strengthTwo": …}
                weight = json_text.number(value.get("strength"))
                two = json_text.number(value.get("strengthTwo"))
                if value.get("on") and weight is not None and value["lora"] != "None":
                    both = (float(weight), float(weight if two is None else two))
                    found.append((place, value["lora"], *both))
        stack = values.source(node.link("lora_stack", "optional_lora_stack"))
        if stack is not None:
            found += self._stacked(stack[0])
        if "Stack" in node.kind and not found:
            found += self._stacked(node)
        return found

    def _stacked(self, node: GraphNode) -> list[tuple[str, str, float, float]]:
        """A stack's: `lora_name_1`, `lora_wt_1`, `model_str_1`, `clip_str_1`, and the like."""
        values, found = self._values, []
        count = values.number(node, "lora_count", "num_loras")
        for number in range(1, 51 if count is None else min(50, int(count)) + 1):
            names = (f"lora_name_{number}", f"lora_{number}", f"lora_{number:02}")
            name = values.text(node, *(each for each in names if each in node.inputs))
            if not name or name == "None":
                continue
            if str(values.of(node, f"switch_{number}")) == "Off":
                continue
            simple = values.text(node, "input_mode") == "simple"
            weights = [f"lora_wt_{number}", f"strength_{number:02}", f"strength_{number}"]
            model = values.number(
                node,
                *([] if simple else [f"model_str_{number}"]),
                *weights,
                f"model_weight_{number}",
                f"model_str_{number}",
            )
            clip = values.number(
                node,
                *([] if simple else [f"clip_str_{number}"]),
                *weights,
                f"clip_weight_{number}",
                f"clip_str_{number}",
            )
            weight = 1.0 if model is None else float(model)
            found.append((str(number), name, weight, weight if clip is None else float(clip)))
        return found

    # texts

    def text(self, link: NodeLink | None, which: str) -> SaidText:
        """What a conditioning says; `which` is `positive` or `negative`, for nodes with both."""
        said = SaidText(controls=[])
        parts: list[str] = []
        waiting = [link]
        for _ in range(CHAIN_MAX):
            if not waiting:
                break
            source = self._values.source(waiting.pop())
            if source is not None:
                waiting += reversed(self._said(*source, which, said, parts))
        said.text = ", ".join(part for part in parts if part.strip())
        return said

    def _said(
        self, node: GraphNode, slot: int, which: str, said: SaidText, parts: list[str]
    ) -> list[NodeLink]:
        """Take what a node says; the conditionings that it has that of."""
        values, kind = self._values, node.kind
        guidance = values.number(node, "guidance")
        if guidance is not None and said.guidance is None:
            said.guidance = float(guidance)
        if kind == "ConditioningZeroOut":
            said.read = True
            return []
        if "ControlNetApply" in kind or node.link("control_net") is not None:
            loader = values.source(node.link("control_net"))
            name = values.text(loader[0], "control_net_name") if loader is not None else ""
            said.controls.append(name)
            both = ("positive", "negative")
            onward = node.link(both[slot] if slot < 2 else which, "conditioning")
            return [onward] if onward is not None else []
        if kind in ("ConditioningCombine", "ConditioningConcat", "ConditioningAverage"):
            self.notes["info_joined_texts"] = None
            return [link for name, link in node.links() if name.startswith("conditioning")]
        own = node.link("conditioning") or node.link(which)
        if own is None or (node.link("clip") is not None and self._has_text(node)):
            return self._encoded(node, which, said, parts)
        if own is not None:
            if kind != "FluxGuidance":
                self.ignored[kind] = None
            return [own]
        return []

    def _has_text(self, node: GraphNode) -> bool:
        return any(name in node.inputs for name in TEXTS)

    def _encoded(
        self, node: GraphNode, which: str, said: SaidText, parts: list[str]
    ) -> list[NodeLink]:
        values = self._values
        names = (which, *TEXTS) if which in node.inputs else TEXTS
        text = values.text(node, *(name for name in names if name in node.inputs))
        said.read |= bool(text) or any(name in node.inputs for name in names)
        if said.clip is None:
            said.clip = node.link("clip") or (
                NodeLink(node.id, 5) if "ckpt_name" in node.inputs else None
            )
        parts.append(text)
        for name in ("text_l", "clip_l"):
            other = values.text(node, name) if name in node.inputs else ""
            if other.strip() and other.strip() != text.strip():
                if not text.strip():
                    parts[-1] = other
                else:
                    self.notes["info_two_texts"] = None
        if "image" in node.inputs or "image1" in node.inputs:
            self.notes["info_start_picture"] = None
        return []

    # latents and pictures

    def name_of(self, link: NodeLink | None, *names: str) -> str:
        """The name that a loader has."""
        source = self._values.source(link)
        return "" if source is None else self._values.text(source[0], *names)

    def whole(self, node: GraphNode, *names: str) -> int | None:
        """A whole number among a node's inputs."""
        return json_text.whole(self._values.number(node, *names))

    def given(self, node: GraphNode) -> dict[str, Any]:
        """Width, height and count of an empty latent, as far as it says them."""
        found: dict[str, Any] = {}
        for option, names in (
            ("width", ("width", "empty_latent_width")),
            ("height", ("height", "empty_latent_height")),
            ("count", ("batch_size",)),
        ):
            value = self.whole(node, *names)
            if value is not None:
                found[option] = value
        if "width" not in found:
            written = self._values.text(node, "dimensions", "resolution").split("(")[0]
            wide, x, high = written.partition("x")
            across, down = json_text.whole(wide.strip()), json_text.whole(high.strip())
            if x and across and down:
                found |= {"width": across, "height": down}
        return found
