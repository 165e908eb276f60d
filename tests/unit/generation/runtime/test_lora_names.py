"""Layers are found by all the names that programs give them."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from generation.runtime.lora_names import LayerNames
from tests.fixtures import ldm, loras

XL_NAMES = {
    "input_blocks_0_0": "conv_in",
    "input_blocks_1_0_in_layers_2": "down_blocks.0.resnets.0.conv1",
    "input_blocks_3_0_op": "down_blocks.0.downsamplers.0.conv",
    "input_blocks_4_0_skip_connection": "down_blocks.1.resnets.0.conv_shortcut",
    "input_blocks_4_1_proj_in": "down_blocks.1.attentions.0.proj_in",
    "input_blocks_5_1_transformer_blocks_1_attn2_to_v": (
        "down_blocks.1.attentions.1.transformer_blocks.1.attn2.to_v"
    ),
    "input_blocks_8_1_transformer_blocks_9_ff_net_0_proj": (
        "down_blocks.2.attentions.1.transformer_blocks.9.ff.net.0.proj"
    ),
    "middle_block_0_emb_layers_1": "mid_block.resnets.0.time_emb_proj",
    "middle_block_1_transformer_blocks_0_attn1_to_out_0": (
        "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"
    ),
    "middle_block_2_out_layers_3": "mid_block.resnets.1.conv2",
    "output_blocks_0_0_out_layers_0": "up_blocks.0.resnets.0.norm2",
    "output_blocks_2_1_proj_out": "up_blocks.0.attentions.2.proj_out",
    "output_blocks_2_2_conv": "up_blocks.0.upsamplers.0.conv",
    "output_blocks_5_2_conv": "up_blocks.1.upsamplers.0.conv",
    "output_blocks_8_0_in_layers_0": "up_blocks.2.resnets.2.norm1",
    "time_embed_2": "time_embedding.linear_2",
    "label_emb_0_0": "add_embedding.linear_1",
    "out_2": "conv_out",
}
"""Of the published SDXL, in its original layout and in diffusers'."""


def unet(family: str) -> UNet2DConditionModel:
    """That of a family, in full size and without weights."""
    text = Path(f"generation/runtime/configs/{family}/unet/config.json").read_text()
    config = {key: value for key, value in json.loads(text).items() if not key.startswith("_")}
    with torch.device("meta"):
        return UNet2DConditionModel(**config)


@pytest.mark.parametrize("prefix", ["lora_unet_", "unet.", "model.diffusion_model.", ""])
@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl", "sdxl-refiner"])
def test_every_layer_by_its_name_of_either_layout(family: str, prefix: str) -> None:
    network = unet(family)
    names = LayerNames({"unet": network})
    modules = {name.rpartition(".")[0] for name in network.state_dict()}
    weights = {f"{module}.weight": torch.empty(0) for module in modules}
    originals = [name.removesuffix(".weight") for name in ldm.unet(weights, "")]
    assert len(set(originals)) == len(modules) > 280
    for ours, theirs in zip(weights, originals, strict=True):
        expected = ("unet", ours.removesuffix(".weight"))
        flat = theirs.replace(".", "_") if prefix.endswith("_") else theirs
        assert names.find(prefix + flat) == expected
        assert names.find(prefix + expected[1]) == expected


def test_layers_of_sdxl_by_their_original_names() -> None:
    names = LayerNames({"unet": unet("sdxl")})
    for theirs, ours in XL_NAMES.items():
        assert names.find(f"lora_unet_{theirs}") == ("unet", ours)


def test_blocks_are_counted_off_the_network() -> None:
    """With one resnet a level instead of two, all numbers are others."""
    names = LayerNames(loras.sd1())
    found = {
        theirs: names.find(f"lora_unet_{theirs}")
        for theirs in ("input_blocks_2_0_op", "input_blocks_3_1_proj_in", "output_blocks_1_2_conv")
    }
    assert [target and target.module for target in found.values()] == [
        "down_blocks.0.downsamplers.0.conv",
        "down_blocks.1.attentions.0.proj_in",
        "up_blocks.0.upsamplers.0.conv",
    ]


@pytest.mark.parametrize("prefix", ["lora_te1_", "lora_te_", "text_encoder.", "te1."])
def test_the_first_text_encoder(prefix: str) -> None:
    names = LayerNames(loras.xl())
    for inner in ("", "text_model."):
        layer = f"{prefix}{inner}encoder.layers.1.self_attn.q_proj"
        target = ("text_encoder", "encoder.layers.1.self_attn.q_proj")
        assert names.find(layer) == target
        assert names.find(layer.replace(".", "_")) == target


@pytest.mark.parametrize("prefix", ["lora_te2_", "text_encoder_2.", "text_encoders.clip_g."])
def test_the_second_text_encoder(prefix: str) -> None:
    names = LayerNames(loras.xl())
    target = ("text_encoder_2", "text_model.encoder.layers.0.mlp.fc1")
    for inner in ("", "text_model.", "transformer.text_model."):
        assert names.find(f"{prefix}{inner}encoder.layers.0.mlp.fc1") == target
    assert names.find(f"{prefix}text_projection") == ("text_encoder_2", "text_projection")
    # a model that has none
    assert LayerNames(loras.sd1()).find(f"{prefix}text_model.encoder.layers.0.mlp.fc1") is None


def test_what_is_no_layer_is_not_found() -> None:
    names = LayerNames(loras.xl())
    for name in (
        "",
        "lora_unet_",
        "lora_unet_conv",
        "lora_unet_mid_block_attentions_9_proj_in",
        "x",
    ):
        assert names.find(name) is None
    # activations and blocks have no weight
    for name in ("lora_unet_mid_block", "lora_unet_conv_act", "unet.down_blocks.1.attentions.0"):
        assert names.find(name) is None
