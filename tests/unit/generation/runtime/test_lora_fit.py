"""A LoRA that does not fit, or not whole, is named."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from generation.runtime.faults import JobError
from generation.runtime.merging import LoraMerge, Merger
from tests.fixtures import headers, loras
from tests.fixtures.loras import Networks

pytestmark = pytest.mark.slow


@pytest.fixture
def networks() -> Networks:
    return loras.sd1()


def code_of(networks: Networks, *uses: LoraMerge, merger: Merger | None = None) -> str:
    with pytest.raises(JobError) as error:
        (merger or Merger()).apply(networks, uses)
    assert error.value.params == {"name": uses[-1].name}
    return error.value.code


def test_a_lora_of_another_family_is_named_and_leaves_no_trace(tmp_path: Path) -> None:
    networks, others = loras.sd1(), loras.xl()
    before = loras.weights_of(networks)
    good, _ = loras.lora_for(tmp_path, networks, "good")
    bad, _ = loras.lora_for(tmp_path, others, "bad")
    merger = Merger()
    merger.apply(networks, [good])
    assert code_of(networks, good, bad, merger=merger) == "lora_mismatch"
    assert loras.equal(loras.weights_of(networks), before)
    assert code_of(others, good) == "lora_mismatch"
    # names that nobody has
    tensors = loras.kohya(loras.pairs({"layers.0.attention.qkv": torch.empty(8, 8)}))
    nowhere = loras.use(loras.save(tensors, tmp_path / "nowhere.safetensors"))
    assert code_of(networks, nowhere) == "lora_mismatch"


def test_values_that_are_no_numbers_are_the_loras_fault(tmp_path: Path, networks: Networks) -> None:
    before = loras.weights_of(networks)
    pairs = loras.pairs(loras.layers(networks["unet"], ("to_q",)))
    next(iter(pairs.values()))[1][0, 0] = float("nan")
    file = loras.save(loras.kohya(pairs), tmp_path / "nan.safetensors")
    assert code_of(networks, loras.use(file)) == "lora_nan"
    assert loras.equal(loras.weights_of(networks), before)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.uint8, torch.int8])
def test_weights_of_few_bits_take_no_lora(
    tmp_path: Path, networks: Networks, dtype: torch.dtype
) -> None:
    a, _ = loras.lora_for(tmp_path, networks)
    layer = networks["unet"].get_submodule("mid_block.attentions.0.proj_in")
    layer.weight = torch.nn.Parameter(
        layer.get_parameter("weight").detach().to(dtype), requires_grad=False
    )
    before = loras.weights_of(networks)
    assert code_of(networks, a) == "lora_quantised"
    assert loras.equal(loras.weights_of(networks), before)


def test_a_part_that_does_not_fit_is_named(tmp_path: Path) -> None:
    networks = loras.xl()
    a, pairs = loras.lora_for(tmp_path, networks)
    only_one = {name: networks[name] for name in ("unet", "text_encoder")}
    (report,) = Merger().apply(only_one, [a])
    second = len(pairs["text_encoder_2"])
    assert report.is_partial
    assert (report.applied, report.layers) == (report.layers - second, report.layers)
    assert len(report.unused) == 3 * second
    assert all(name.startswith("lora_te2_") for name in report.unused)


def test_the_first_convolution_of_another_variant_is_left_out(
    tmp_path: Path, networks: Networks
) -> None:
    """An inpainting UNet has more channels there, and is of the same family all the same."""
    shapes = {"conv_in": torch.empty(32, 9, 3, 3), "mid_block.attentions.0.proj_in": None}
    weights = loras.layers(networks["unet"], shapes)
    pairs = loras.pairs(weights | {"conv_in": torch.empty(32, 9, 3, 3)})
    file = loras.save(loras.kohya(pairs), tmp_path / "inpainting.safetensors")
    (report,) = Merger().apply(networks, [loras.use(file)])
    assert (report.applied, report.layers) == (1, 2)
    assert {name.split(".")[0] for name in report.unused} == {"lora_unet_conv_in"}


def test_a_layer_under_two_names_acts_once(tmp_path: Path, networks: Networks) -> None:
    before = loras.weights_of(networks)
    name = "down_blocks.1.attentions.0.proj_in"
    pairs = loras.pairs({name: networks["unet"].get_submodule(name).get_parameter("weight")})
    tensors = loras.kohya(pairs, alpha=2.0)
    again = loras.kohya({"input_blocks_3_1_proj_in": pairs[name]}, alpha=2.0)
    file = loras.save(tensors | again, tmp_path / "both.safetensors")
    (report,) = Merger().apply(networks, [loras.use(file)])
    assert loras.has(networks, loras.expected(before, {"unet": pairs}, {"unet": 1.0}))
    assert (report.applied, len(report.unused)) == (1, 3)


TEXT_ENCODERS: dict[str, Any] = {
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
}


def full_size(family: str, *, materialised: tuple[str, ...] = ()) -> Networks:
    """The networks of a family in full size, of whose weights there are a few."""
    configs = Path("generation/runtime/configs") / family
    text = (configs / "unet" / "config.json").read_text()
    config = {key: value for key, value in json.loads(text).items() if not key.startswith("_")}
    with torch.device("meta"):
        networks: Networks = {"unet": UNet2DConditionModel(**config)}
        for name, class_ in TEXT_ENCODERS.items():
            if (configs / name).exists():
                networks[name] = class_(CLIPTextConfig.from_pretrained(configs / name))
    for name in materialised:
        network, _, module = name.partition(".")
        layer = networks[network].get_submodule(module).to_empty(device="cpu")
        torch.nn.init.zeros_(layer.get_parameter("weight"))
    return networks


XL_TO_Q = "unet.down_blocks.2.attentions.1.transformer_blocks.5.attn1.to_q"
XL_TO_K = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
TEXT_K = "text_encoder.encoder.layers.0.self_attn.k_proj"
SD1_TO_K = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
PUBLISHED = {
    "slider": (
        ("lora_unet_input_blocks_8_1_transformer_blocks_5_attn1_to_q", 1280, 1280),
        {"sdxl": XL_TO_Q, "sd1": ""},
    ),
    "first text encoder alone": (
        ("lora_te1_text_model_encoder_layers_0_self_attn_k_proj", 768, 768),
        # its text encoder is that of Stable Diffusion 1
        {"sdxl": TEXT_K, "sd1": TEXT_K},
    ),
    "cross attention": (
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 640, 2048),
        {"sdxl": XL_TO_K, "sd1": ""},
    ),
    "Stable Diffusion 1": (
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 320, 768),
        {"sdxl": "", "sd1": SD1_TO_K},
    ),
}
"""Layers of published LoRAs with outputs and inputs, and what they are in which family."""


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_which_family_a_lora_is_for(tmp_path: Path, name: str, family: str) -> None:
    (layer, out, in_), places = PUBLISHED[name]
    tensors = {
        f"{layer}.lora_down.weight": torch.ones(4, in_),
        f"{layer}.lora_up.weight": torch.ones(out, 4),
        f"{layer}.alpha": torch.tensor(2.0),
    }
    file = loras.save(tensors, tmp_path / "lora.safetensors")
    place = places[family]
    networks = full_size(family, materialised=(place,) if place else ())
    if not place:
        assert code_of(networks, loras.use(file)) == "lora_mismatch"
        return
    (report,) = Merger().apply(networks, [loras.use(file)])
    assert (report.applied, report.layers) == (1, 1)
    network, _, module = place.partition(".")
    weight = networks[network].get_submodule(module).get_parameter("weight")
    assert weight.min() == weight.max() == 4 * 0.5


@pytest.mark.parametrize(
    ("method", "shapes", "change"),
    [
        (
            "LoHa",
            {
                "hada_w1_a": (320, 4),
                "hada_w1_b": (4, 768),
                "hada_w2_a": (320, 4),
                "hada_w2_b": (4, 768),
            },
            4 * 4 * 0.5,
        ),
        ("LoKr", {"lokr_w1": (16, 16), "lokr_w2_a": (20, 4), "lokr_w2_b": (4, 48)}, 4 * 0.5),
        # with nothing to turn, for the blocks are symmetric
        ("OFT", {"oft_blocks": (4, 80, 80)}, 0.0),
    ],
)
def test_lycoris_of_full_size(
    tmp_path: Path, method: str, shapes: dict[str, tuple[int, ...]], change: float
) -> None:
    layer = PUBLISHED["Stable Diffusion 1"][0][0]
    tensors = {f"{layer}.{name}": torch.ones(shape) for name, shape in shapes.items()}
    tensors[f"{layer}.alpha"] = torch.tensor(2.0)
    file = loras.save(tensors, tmp_path / f"{method}.safetensors")
    networks = full_size("sd1", materialised=(SD1_TO_K,))
    (report,) = Merger().apply(networks, [loras.use(file)])
    assert not report.is_partial
    weight = networks["unet"].get_submodule(SD1_TO_K.removeprefix("unet.")).get_parameter("weight")
    assert weight.min() == weight.max() == change


BYTES_MAX = 64 * 2**20
MADE_UP = ("dora", "ia3")
"""Methods whose headers are kept with shapes that no trainer gives them."""


def size_of(header: headers.KnownHeader) -> int:
    return sum(headers.BYTES[dtype] * math.prod(shape) for dtype, shape in header.tensors.values())


KNOWN = {
    header.name: header
    for header in headers.read()
    if header.kind == "lora" and header.variant not in MADE_UP and size_of(header) < BYTES_MAX
}
ALIKE = {"kohya-sd1-text-only", "kohya-sdxl-te1-only", "slider-sd1", "slider-that-says-nothing"}
"""LoRAs whose layers are the same in more than one family."""


@pytest.fixture(scope="module")
def families() -> dict[str, Networks]:
    return {family: full_size(family) for family in ("sd1", "sd2", "sdxl")}


@pytest.mark.parametrize("name", KNOWN)
def test_all_of_a_published_lora_fits_its_family_and_no_other(
    tmp_path: Path, families: dict[str, Networks], name: str
) -> None:
    known = KNOWN[name]
    file = known.write(tmp_path / "lora.safetensors")
    for family, networks in families.items():
        # of no strength: what fits is asked of networks that have no weights
        if known.family == family or (known.family == "sd" and family == "sd1"):
            (report,) = Merger().apply(networks, [loras.use(file, 0.0)])
            assert report.unused == ()
            assert report.applied == report.layers
        elif name not in ALIKE:
            assert code_of(networks, loras.use(file, 0.0)) == "lora_mismatch"
