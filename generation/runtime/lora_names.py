"""Which module a LoRA's layer is: the names that trainers give the layers of a network.

What a UNet's layers are called in the original code (`input_blocks.4.1.…`) follows from how many
blocks, resnets and samplers it has, and is counted off the module itself. Where diffusers has
several layers for one of the original code, each is changed by its share of the outputs.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import torch

from generation.runtime.networks import original_layers

PREFIXES: Final[Mapping[str, tuple[str, ...]]] = {
    "unet": (
        *("lora_unet_", "unet_", "diffusion_model_", "model_diffusion_model_"),
        *("lycoris_", "lora_", ""),
    ),
    "transformer": (
        *("lora_transformer_", "transformer_", "lora_unet_"),
        *("diffusion_model_", "model_diffusion_model_", "lycoris_", "lora_", ""),
    ),
    "text_encoder": (
        *("lora_te_", "lora_te1_", "te_", "te1_", "text_encoder_", "text_encoder_1_"),
        *("text_encoders_clip_l_", "text_encoders_clip_h_", "clip_l_", "clip_h_", ""),
    ),
    "text_encoder_2": (
        *("lora_te2_", "te2_", "text_encoder_2_", "text_encoders_clip_g_", "clip_g_"),
    ),
    "text_encoder_t5": (
        *("lora_te3_", "te3_", "lora_te2_", "te2_", "text_encoder_2_", "text_encoder_3_"),
        *("text_encoders_t5xxl_", "t5xxl_"),
    ),
    "text_encoder_qwen3": (
        *("lora_te_", "lora_te1_", "te_", "te1_", "text_encoder_", "text_encoder_1_"),
        *("text_encoders_qwen3_4b_", "qwen3_4b_", "text_encoders_qwen3_8b_", "qwen3_8b_"),
    ),
}
"""What stands before a layer's name by the network, as diffusers names that: of kohya, LyCORIS and
OneTrainer (lora_…), of diffusers and peft, of ComfyUI."""
PEFT: Final = "base_model_model_"
"""What peft puts before all."""
RESNET: Final = {
    "norm1": "in_layers_0",
    "conv1": "in_layers_2",
    "time_emb_proj": "emb_layers_1",
    "norm2": "out_layers_0",
    "conv2": "out_layers_3",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS: Final = {
    "conv_in": "input_blocks_0_0",
    "time_embedding_linear_1": "time_embed_0",
    "time_embedding_linear_2": "time_embed_2",
    "add_embedding_linear_1": "label_emb_0_0",
    "add_embedding_linear_2": "label_emb_0_2",
    "conv_norm_out": "out_0",
    "conv_out": "out_2",
}
OLD_TEXT_ATTENTION: Final = {
    "q_proj": "to_q",
    "k_proj": "to_k",
    "v_proj": "to_v",
    "out_proj": "to_out",
}
"""As diffusers saved the LoRAs of text encoders until 0.17."""


class Target(NamedTuple):
    """A module of a network."""

    network: str
    module: str


class Piece(NamedTuple):
    """A module that a layer of a file changes, or a share of it does."""

    target: Target
    rows: tuple[tuple[int, int], ...] = ()
    """From which of the layer's outputs to which are the module's, one after another; () where all
    are."""
    total: int = 0
    """How many outputs the layer has then."""


class LayerNames:
    """The layers of some networks, found by what a LoRA file calls them.

    Dots and underscores count as the same, so that kohya's flat names and dotted ones are found by
    one table.
    """

    def __init__(self, networks: Mapping[str, torch.nn.Module]) -> None:
        self._tables = {
            network: _table(module, text=network.startswith("text_encoder"))
            for network, module in networks.items()
        }
        self._fused = {network: _fused(module) for network, module in networks.items()}
        self._prefixes = [
            (prefix, network)
            for network in networks
            for prefix in PREFIXES.get(network, (f"{network}_",))
        ]

    def pieces(self, layer: str) -> tuple[Piece, ...]:
        """The modules that a file's layer is in diffusers; none where no network has it."""
        found = self.find(layer)
        if found is not None:
            return (Piece(found),)
        flat = layer.replace(".", "_").removeprefix(PEFT)
        for prefix, network in self._prefixes:
            own = self._fused[network].get(flat.removeprefix(prefix))
            if flat.startswith(prefix) and own is not None:
                return tuple(
                    Piece(Target(network, module), rows, total) for module, rows, total in own
                )
        return ()

    def find(self, layer: str) -> Target | None:
        """The module that a file's layer is; None where none of the networks has it."""
        flat = _without_processor(layer.replace(".", "_").removeprefix(PEFT))
        for prefix, network in self._prefixes:
            if flat.startswith(prefix):
                name = flat.removeprefix(prefix)
                if network.startswith("text_encoder"):
                    name = _plain_text_name(name)
                module = self._tables[network].get(name)
                if module is not None:
                    return Target(network, module)
        return None


def _without_processor(flat: str) -> str:
    """Without the module that held a layer's LoRA, which older files name."""
    return flat.replace("_processor_", "_")


def _plain_text_name(flat: str) -> str:
    """Without what older versions of transformers, and those of ComfyUI, have before it."""
    return flat.removeprefix("transformer_").removeprefix("text_model_").removeprefix("model_")


def _table(network: torch.nn.Module, *, text: bool) -> dict[str, str]:
    """Modules that have weights, by their flat names and all others that are in use for them."""
    found: dict[str, str] = {}
    original = dict(_original_blocks(network))
    whole: dict[str, list[str]] = {}
    for ours, row in original_layers(network).items():
        if len(row.modules) == 1 and not row.turned:
            flat = _without_processor(ours.replace(".", "_"))
            whole.setdefault(row.modules[0], []).append(flat)
    for name, module in network.named_modules():
        if not isinstance(getattr(module, "weight", None), torch.Tensor):
            continue
        flat = name.replace(".", "_")
        if text:
            flat = _plain_text_name(flat)
        found[flat] = name
        for known in whole.get(name, ()):
            found.setdefault(known, name)
        for other in _other_names(flat, original):
            found.setdefault(other, name)
    return found


def _fused(network: Any) -> dict[str, tuple[tuple[str, tuple[tuple[int, int], ...], int], ...]]:
    """Layers of the original code that diffusers has otherwise, by their flat names: each module,
    which of the layer's outputs are its, and how many there are.
    """
    found = {}
    for ours, row in original_layers(network).items():
        if len(row.modules) == 1 and not row.turned:
            continue
        total = sum(len(network.get_submodule(module).weight) for module in row.modules)
        parts = zip(row.modules, row.rows(total), strict=True)
        found[ours.replace(".", "_")] = tuple((module, rows, total) for module, rows in parts)
    return found


def _other_names(flat: str, original: Mapping[str, str]) -> Iterator[str]:
    last = flat.rpartition("attn_")[2]
    if last in OLD_TEXT_ATTENTION:
        yield flat.removesuffix(last) + OLD_TEXT_ATTENTION[last]
    names = [flat]
    for ours, theirs in original.items():
        if flat == ours:
            names.append(theirs)
        elif flat.startswith(f"{ours}_"):
            inner = flat.removeprefix(f"{ours}_")
            names.append(f"{theirs}_{RESNET.get(inner, inner)}")
    yield from names
    # as diffusers saved attention processors
    yield from (name.removesuffix("_0") for name in names if name.endswith("_to_out_0"))


def _original_blocks(network: Any) -> Iterator[tuple[str, str]]:
    """Blocks of a UNet by diffusers' flat names, each with that of the original code."""
    if not all(hasattr(network, part) for part in ("down_blocks", "mid_block", "up_blocks")):
        return
    yield from UNET_ENDS.items()
    count = 1  # conv_in is the first of the input blocks
    for level, block in enumerate(network.down_blocks):
        ours = f"down_blocks_{level}"
        for number in range(len(block.resnets)):
            yield f"{ours}_resnets_{number}", f"input_blocks_{count}_0"
            yield f"{ours}_attentions_{number}", f"input_blocks_{count}_1"
            count += 1
        if block.downsamplers:
            yield f"{ours}_downsamplers_0_conv", f"input_blocks_{count}_0_op"
            count += 1
    for number in range(len(network.mid_block.resnets)):
        yield f"mid_block_resnets_{number}", f"middle_block_{2 * number}"
        yield f"mid_block_attentions_{number}", f"middle_block_{2 * number + 1}"
    count = 0
    for level, block in enumerate(network.up_blocks):
        ours = f"up_blocks_{level}"
        attends = bool(getattr(block, "attentions", None))
        for number in range(len(block.resnets)):
            yield f"{ours}_resnets_{number}", f"output_blocks_{count}_0"
            yield f"{ours}_attentions_{number}", f"output_blocks_{count}_1"
            count += 1
        if block.upsamplers:
            place = 2 if attends else 1  # behind the last resnet and its attention
            yield f"{ours}_upsamplers_0_conv", f"output_blocks_{count - 1}_{place}_conv"
