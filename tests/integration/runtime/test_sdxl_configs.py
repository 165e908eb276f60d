"""What a single file of SDXL does not carry: our configs, tried with tiny models of its make."""

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from generation.families.sdxl import REFINER, SDXL
from generation.runtime.tokenizers import CONFIGS, load_tokenizer
from tests.fixtures import models, sdxl


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sdxl.tiny_sdxl(tmp_path_factory.mktemp("sdxl") / "base")


def draw(pipe: Any, prompt: str = "a red fox", **more: Any) -> torch.Tensor:
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(7)
    picture: torch.Tensor = pipe(
        prompt, num_inference_steps=2, generator=generator, output_type="pt", **more
    ).images
    return picture


def from_single(class_: Any, file: Path, configs: Path, tokenizers: tuple[str, ...]) -> Any:
    loaded = {name: load_tokenizer(CONFIGS / configs.name / name) for name in tokenizers}
    config = str(configs)
    return class_.from_single_file(
        str(file), config=config, local_files_only=True, add_watermarker=False, **loaded
    )


@pytest.mark.slow
def test_a_single_file_is_the_folder_that_it_was_made_of(folder: Path, tmp_path: Path) -> None:
    file = sdxl.single_file(folder, tmp_path / "base.safetensors", "v_pred", "ztsnr")
    configs = sdxl.configs_of("sdxl", folder, tmp_path / "configs") / "sdxl"
    class_ = getattr(diffusers, SDXL.pipeline)
    whole = class_.from_pretrained(folder, add_watermarker=False)
    single = from_single(class_, file, configs, ("tokenizer", "tokenizer_2"))
    size: dict[str, Any] = {"width": 64, "height": 64}
    assert torch.equal(draw(whole, **size), draw(single, **size))
    other = draw(single, "a blue door", **size)
    assert not torch.equal(draw(single, **size), other), "both prompts are read alike"
    for name in ("unet", "vae", "text_encoder", "text_encoder_2"):
        left, right = getattr(whole, name).state_dict(), getattr(single, name).state_dict()
        assert left.keys() == right.keys()
        assert all(torch.equal(left[key], right[key]) for key in left), name


def test_a_tiny_single_file_of_stable_diffusion_1(tmp_path: Path) -> None:
    folder = models.tiny_stable_diffusion(tmp_path / "base")
    file = sdxl.single_file(folder, tmp_path / "base.safetensors")
    configs = sdxl.configs_of("sd1", folder, tmp_path / "configs") / "sd1"
    class_ = diffusers.StableDiffusionPipeline
    whole = class_.from_pretrained(folder)
    single = class_.from_single_file(str(file), config=str(configs), local_files_only=True)
    assert torch.equal(draw(whole), draw(single))


@pytest.mark.slow
def test_a_single_file_of_the_refiner(tmp_path: Path) -> None:
    folder = sdxl.tiny_refiner(tmp_path / "refiner")
    file = sdxl.single_file(folder, tmp_path / "refiner.safetensors")
    configs = sdxl.configs_of("sdxl-refiner", folder, tmp_path / "configs") / "sdxl-refiner"
    class_ = getattr(diffusers, REFINER.pipeline)
    whole = class_.from_pretrained(folder, add_watermarker=False)
    single = from_single(class_, file, configs, ("tokenizer_2",))
    image = torch.linspace(0, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
    pictures = [draw(pipe, image=image, strength=1.0) for pipe in (whole, single)]
    assert torch.equal(*pictures)


def test_the_second_tokenizer_pads_with_its_own_token() -> None:
    first, second = (load_tokenizer(CONFIGS / "sdxl" / name) for name in SDXL_TOKENIZERS)
    given = {"padding": "max_length", "max_length": 6}
    assert first("a cat", **given).input_ids == [49406, 320, 2368, 49407, 49407, 49407]
    assert second("a cat", **given).input_ids == [49406, 320, 2368, 49407, 0, 0]
    assert first.model_max_length == second.model_max_length == 77


SDXL_TOKENIZERS = tuple(encoder.tokenizer for encoder in SDXL.encoders)


@pytest.mark.parametrize("family", [SDXL, REFINER])
def test_the_configs_are_of_the_published_size(family: Any) -> None:
    config = CONFIGS / family.config
    index = json.loads((config / "model_index.json").read_text())
    assert index["_class_name"] == family.pipeline
    with torch.device("meta"):
        for part, half in family.bytes_at_half.items():
            settings = json.loads((config / part / "config.json").read_text())
            if index[part][0] == "transformers":
                network: Any = CLIPTextModelWithProjection(CLIPTextConfig(**settings))
                if part == "text_encoder":
                    del network.text_projection
            else:
                network = getattr(diffusers, index[part][1]).from_config(settings)
            size = 2 * sum(parameter.numel() for parameter in network.parameters())
            assert size == pytest.approx(half, rel=0.01), part
    pooled = json.loads((config / "text_encoder_2" / "config.json").read_text())["projection_dim"]
    unet = json.loads((config / "unet" / "config.json").read_text())
    numbers = 6 if family is SDXL else 5
    told = pooled + numbers * unet["addition_time_embed_dim"]
    assert unet["projection_class_embeddings_input_dim"] == told
    assert unet["cross_attention_dim"] == family.context_width


@pytest.mark.slow
def test_control_of_the_tiny_model_fits_it(folder: Path, tmp_path: Path) -> None:
    """A ControlNet, a union and a T2I-Adapter change the picture, through diffusers' pipelines."""
    plain = diffusers.StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)
    size: dict[str, Any] = {"width": 64, "height": 64}
    without = draw(plain, **size)
    hint = torch.linspace(0, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
    net = sdxl.tiny_xl_controlnet(tmp_path / "net", folder)
    union = sdxl.tiny_controlnet_union(tmp_path / "union", folder)
    adapter = sdxl.tiny_t2i_adapter(tmp_path / "adapter")
    components = plain.components
    for class_, given, inputs in (
        (
            diffusers.StableDiffusionXLControlNetPipeline,
            {"controlnet": diffusers.ControlNetModel.from_pretrained(net)},
            {"image": hint},
        ),
        (
            diffusers.StableDiffusionXLControlNetUnionPipeline,
            {"controlnet": diffusers.ControlNetUnionModel.from_pretrained(union)},
            {"control_image": [hint], "control_mode": [1]},
        ),
        (
            diffusers.StableDiffusionXLAdapterPipeline,
            {"adapter": diffusers.T2IAdapter.from_pretrained(adapter)},
            {"image": hint},
        ),
    ):
        pipe = class_(**components, **given, **no_watermark(class_))
        assert not torch.allclose(draw(pipe, **size, **inputs), without), class_.__name__


def no_watermark(class_: Any) -> dict[str, Any]:
    takes = "add_watermarker" in class_.__init__.__annotations__
    return {"add_watermarker": False} if takes else {}


@pytest.mark.slow
@pytest.mark.parametrize("channels", [9, 8])
def test_unets_of_more_channels_are_made_of_the_tiny_model(channels: int, tmp_path: Path) -> None:
    base = models.tiny_stable_diffusion(tmp_path / "base")
    folder = sdxl.with_unet_channels(base, tmp_path / "more", channels)
    unet = diffusers.UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    assert unet.conv_in.weight.shape[1] == channels
    large = sdxl.tiny_sdxl(tmp_path / "large", channels=channels)
    unet = diffusers.UNet2DConditionModel.from_pretrained(large, subfolder="unet")
    assert unet.conv_in.weight.shape[1] == channels
