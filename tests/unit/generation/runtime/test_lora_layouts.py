"""One LoRA as every program writes it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from generation.runtime.lora_file import NamedTensors as Tensors
from generation.runtime.merging import Merger
from tests.fixtures import loras
from tests.fixtures.loras import Networks


@pytest.fixture
def networks() -> Networks:
    return loras.sd1()


LAYOUTS: dict[str, Callable[[loras.Pairs], Tensors]] = {
    "kohya": loras.kohya,
    "lycoris": lambda pairs: loras.kohya(pairs, "lycoris_"),
    "diffusers and peft": loras.dotted("unet.", ".lora_A.weight", ".lora_B.weight"),
    "peft": loras.dotted("base_model.model.", ".lora_A.weight", ".lora_B.weight"),
    "peft of a pipeline": loras.dotted(
        "base_model.model.unet.", ".lora_A.weight", ".lora_B.weight"
    ),
    "peft in memory": loras.dotted(
        "base_model.model.", ".lora_A.default.weight", ".lora_B.default.weight"
    ),
    "bare": loras.dotted("", ".lora_A.weight", ".lora_B.weight"),
    "OneTrainer": loras.dotted("unet.", ".lora_down.weight", ".lora_up.weight"),
    "ComfyUI": loras.dotted("diffusion_model.", ".lora_down.weight", ".lora_up.weight"),
    "diffusers 0.20": loras.dotted("unet.", ".lora.down.weight", ".lora.up.weight"),
    "attention processors": loras.attention_processors,
    "with unet.": lambda pairs: {
        f"unet.{name}": tensor for name, tensor in loras.attention_processors(pairs).items()
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_layouts_of_one_lora_give_the_same_weights(
    tmp_path: Path, networks: Networks, layout: str
) -> None:
    before = loras.weights_of(networks)
    pairs = loras.pairs(loras.layers(networks["unet"], loras.ATTENTION))
    file = loras.save(LAYOUTS[layout](pairs), tmp_path / "lora.safetensors")
    (report,) = Merger().apply(networks, [loras.use(file)])
    assert (report.applied, report.layers, report.unused) == (len(pairs), len(pairs), ())
    assert not report.is_partial
    # without an alpha, and with one that is the rank
    assert loras.has(networks, loras.expected(before, {"unet": pairs}, {"unet": 2.0}))


TEXT_LAYOUTS: dict[str, Callable[[loras.Pairs], Tensors]] = {
    "kohya": lambda pairs: loras.kohya(pairs, "lora_te_"),
    "kohya of SDXL": lambda pairs: loras.kohya(pairs, "lora_te1_"),
    "peft": loras.dotted("text_encoder.", ".lora_A.weight", ".lora_B.weight"),
    "older transformers": loras.dotted(
        "text_encoder.text_model.", ".lora_A.weight", ".lora_B.weight"
    ),
    "diffusers 0.17": loras.dotted(
        "text_encoder.text_model.",
        ".lora_linear_layer.down.weight",
        ".lora_linear_layer.up.weight",
    ),
    "diffusers 0.16": lambda pairs: {
        name.replace("q_proj", "to_q_lora")
        .replace("k_proj", "to_k_lora")
        .replace("v_proj", "to_v_lora")
        .replace("out_proj", "to_out_lora"): tensor
        for name, tensor in loras.dotted("text_encoder.text_model.", ".down.weight", ".up.weight")(
            {name: both for name, both in pairs.items() if "self_attn" in name}
        ).items()
    },
    "ComfyUI": loras.dotted(
        "text_encoders.clip_l.transformer.text_model.", ".lora_down.weight", ".lora_up.weight"
    ),
}


@pytest.mark.parametrize("layout", TEXT_LAYOUTS)
def test_all_layouts_of_a_text_encoders_lora(
    tmp_path: Path, networks: Networks, layout: str
) -> None:
    before = loras.weights_of(networks)
    pairs = loras.pairs(loras.layers(networks["text_encoder"]))
    file = loras.save(TEXT_LAYOUTS[layout](pairs), tmp_path / "lora.safetensors")
    (report,) = Merger().apply(networks, [loras.use(file, denoiser=0.0, text=1.0)])
    assert not report.is_partial
    fitting = {
        name: both
        for name, both in pairs.items()
        if layout != "diffusers 0.16" or "self_attn" in name
    }
    assert report.applied == len(fitting)
    wanted = loras.expected(before, {"text_encoder": fitting}, {"text_encoder": 2.0})
    assert loras.has(networks, wanted)


def test_sdxl_with_both_text_encoders_and_original_names(tmp_path: Path) -> None:
    networks = loras.xl()
    before = loras.weights_of(networks)
    a, pairs = loras.lora_for(tmp_path, networks)
    assert any("text_projection" in name for name in before)
    Merger().apply(networks, [a])
    assert loras.has(networks, loras.expected(before, pairs, dict.fromkeys(networks, 1.0)))
    original = {
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k": (
            "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
        ),
        "lora_unet_output_blocks_0_1_transformer_blocks_1_ff_net_2": (
            "up_blocks.0.attentions.0.transformer_blocks.1.ff.net.2"
        ),
        "lora_unet_output_blocks_5_2_conv": "up_blocks.1.upsamplers.0.conv",
        "lora_unet_input_blocks_3_0_op": "down_blocks.0.downsamplers.0.conv",
    }
    tensors: Tensors = {}
    for theirs, ours in original.items():
        down, up = pairs["unet"][ours]
        tensors |= {f"{theirs}.lora_down.weight": down, f"{theirs}.lora_up.weight": up}
    file = loras.save(tensors, tmp_path / "original.safetensors")
    networks = loras.xl()
    Merger().apply(networks, [loras.use(file)])
    some = {"unet": {ours: pairs["unet"][ours] for ours in original.values()}}
    assert loras.has(networks, loras.expected(before, some, {"unet": 2.0}))
