"""What the JSON of a folder says, where its class alone would mislead."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.generation.test_catalog import scan, write, write_folder, write_json


async def told(folder: Path) -> tuple[str, ...]:
    """Kind, family and variant of the only model; or the code and what it says."""
    found = await scan(folder.parent)
    if found.all:
        (model,) = found.all
        return str(model.kind), model.family, model.variant
    (problem,) = found.problems
    return problem.code, problem.params.get("what", problem.params.get("why", ""))


def unet(folder: Path, class_name: str = "StableDiffusionPipeline", **settings: Any) -> Path:
    """A folder of that class whose UNet is so."""
    write_folder(folder)
    encoder = settings.pop("text_encoder", ["transformers", "CLIPTextModel"])
    write_json(folder / "model_index.json", _class_name=class_name, text_encoder=encoder)
    write_json(folder / "unet/config.json", **{"cross_attention_dim": 768, **settings})
    return folder


@pytest.mark.parametrize(
    ("class_name", "settings", "expected"),
    [
        ("StableDiffusionPipeline", {}, ("checkpoint", "sd1", "")),
        ("LatentConsistencyModelPipeline", {}, ("checkpoint", "sd1", "")),
        ("StableDiffusionPipeline", {"cross_attention_dim": 1024}, ("checkpoint", "sd2", "")),
        (
            "StableDiffusionPipeline",
            {"cross_attention_dim": 64, "use_linear_projection": True},
            ("checkpoint", "sd2", ""),
        ),
        (
            "StableDiffusionPipeline",
            {"in_channels": 9},
            ("checkpoint", "sd1", "inpainting"),
        ),
        (
            "LatentConsistencyModelPipeline",
            {"time_cond_proj_dim": 256},
            ("checkpoint", "sd1", "lcm"),
        ),
        (
            "AltDiffusionPipeline",
            {"text_encoder": ["alt_diffusion", "RobertaSeriesModelWithTransformation"]},
            ("model_other", "a model of diffusers' AltDiffusionPipeline"),
        ),
        (
            "MarigoldDepthPipeline",
            {"in_channels": 8},
            ("model_other", "a model of diffusers' MarigoldDepthPipeline"),
        ),
        (
            "StableUnCLIPImg2ImgPipeline",
            {"class_embed_type": "projection"},
            (
                "model_other",
                "an unCLIP model or an upscaler of Stable Diffusion's make"
                " (StableUnCLIPImg2ImgPipeline)",
            ),
        ),
        (
            "KandinskyPipeline",
            {"_class_name": "UNet2DMine"},
            ("model_other", "a model of diffusers' KandinskyPipeline"),
        ),
    ],
)
async def test_pipelines_are_told_by_their_parts(
    tmp_path: Path, class_name: str, settings: dict[str, Any], expected: tuple[str, ...]
) -> None:
    assert await told(unet(tmp_path / "model", class_name, **settings)) == expected


async def test_sdxl_and_its_refiner(tmp_path: Path) -> None:
    large = {"cross_attention_dim": 2048, "addition_embed_type": "text_time"}
    folder = unet(tmp_path / "model", "StableDiffusionXLPipeline", **large)
    why = "it holds no weights"
    assert await told(folder) == ("model_broken", why)  # no second text encoder
    write(folder / "text_encoder_2/model.safetensors", {"weight": (2, 2)})
    assert await told(folder) == ("model_broken", "it holds no words")
    write_json(folder / "tokenizer_2/vocab.json", a=0)
    assert await told(folder) == ("checkpoint", "sdxl", "")


@pytest.mark.parametrize(
    ("class_name", "family"),
    [("HiDreamImageTransformer2DModel", "hidream"), ("ZImageTransformer2DModel", "z-image")],
)
async def test_families_to_come(tmp_path: Path, class_name: str, family: str) -> None:
    folder = tmp_path / "model"
    write_json(folder / "model_index.json", _class_name="AnyPipeline")
    write_json(folder / "transformer/config.json", _class_name=class_name)
    write(folder / "transformer/model.safetensors", {"weight": (2, 2)})
    assert await told(folder) == ("checkpoint", family, "")


@pytest.mark.parametrize(
    ("class_name", "variant"),
    [("FluxPipeline", ""), ("FluxKontextPipeline", "kontext"), ("FluxInpaintPipeline", "")],
)
async def test_a_model_that_edits_is_told_by_its_pipeline(
    tmp_path: Path, class_name: str, variant: str
) -> None:
    """The network is the same."""
    folder = tmp_path / "model"
    write_json(folder / "model_index.json", _class_name=class_name)
    network = {"_class_name": "FluxTransformer2DModel", "in_channels": 64, "guidance_embeds": True}
    write_json(folder / "transformer/config.json", **network)
    write(folder / "transformer/model.safetensors", {"weight": (2, 2)})
    assert await told(folder) == ("checkpoint", "flux", variant)


async def test_other_parts_and_pipelines_are_named(tmp_path: Path) -> None:
    for name, class_name in (("taesd", "AutoencoderTiny"), ("net", "SanaControlNetModel")):
        write_json(tmp_path / name / "config.json", _class_name=class_name)
        write(tmp_path / name / "model.safetensors", {"weight": (2, 2)})
    write_json(tmp_path / "sound" / "model_index.json", _class_name="AudioLDM2Pipeline")
    found = await scan(tmp_path)
    assert [(problem.path.name, problem.params["what"]) for problem in found.problems] == [
        ("net", "a ControlNet of Sana"),
        ("sound", "a model of diffusers' AudioLDM2Pipeline"),
        ("taesd", "an approximate VAE for previews (TAESD)"),
    ]


async def test_controls(tmp_path: Path) -> None:
    """A union is told by its class, and by how many kinds of pictures it knows."""
    for name, class_name, settings in (
        ("a", "ControlNetModel", {"cross_attention_dim": 1024}),
        ("b", "ControlNetModel", {"addition_embed_type": "text_time"}),
        ("c", "ControlNetUnionModel", {"addition_embed_type": "text_time"}),
        (
            "c max",
            "ControlNetModel_Union",
            {"addition_embed_type": "text_time", "num_control_type": 8},
        ),
        ("d", "T2IAdapter", {"adapter_type": "full_adapter_xl"}),
        ("e", "T2IAdapter", {"adapter_type": "full_adapter"}),
    ):
        write_json(tmp_path / name / "config.json", _class_name=class_name, **settings)
        write(tmp_path / name / "model.safetensors", {"weight": (2, 2)})
    found = await scan(tmp_path)
    assert {net.name: (net.family, net.variant) for net in found.controlnets} == {
        "a": ("sd2", ""),
        "b": ("sdxl", ""),
        "c": ("sdxl", "union"),
        "c max": ("sdxl", "union-promax"),
        "d": ("sdxl", "t2i-adapter"),
        "e": ("sd1", "t2i-adapter"),
    }
    assert found.problems == ()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"_class_name": "Flux2Transformer2DModel"}, ("checkpoint", "flux2-dev", "")),
        ({"joint_attention_dim": 7680}, ("checkpoint", "flux2-klein-4b", "")),
        ({"joint_attention_dim": 12288}, ("checkpoint", "flux2-klein-9b", "")),
        ({"joint_attention_dim": 5}, ("checkpoint", "flux2", "")),
        # small ones of the make
        (
            {"joint_attention_dim": 5, "num_layers": 2, "guidance_embeds": False},
            ("checkpoint", "flux2-klein-4b", ""),
        ),
        ({"joint_attention_dim": 5, "num_layers": 2}, ("checkpoint", "flux2", "")),
        ({"_class_name": "Krea2Transformer2DModel"}, ("checkpoint", "krea2", "")),
        # a yes here, the name of a norm in Stable Diffusion 3.5's
        (
            {"_class_name": "ZImageTransformer2DModel", "qk_norm": True},
            ("checkpoint", "z-image", ""),
        ),
        (
            {"_class_name": "WanTransformer3DModel"},
            ("model_other", "a model of diffusers' APipeline"),
        ),
    ],
)
async def test_families_by_the_class_of_their_denoiser(
    tmp_path: Path, settings: dict[str, Any], expected: tuple[str, ...]
) -> None:
    folder = tmp_path / "model"
    usual = {"_class_name": "Flux2Transformer2DModel", "joint_attention_dim": 15360}
    write_json(folder / "model_index.json", _class_name="APipeline")
    write_json(folder / "transformer" / "config.json", **(usual | settings))
    write(folder / "transformer" / "model.safetensors", {"a.weight": (1,)})
    assert await told(folder) == expected


@pytest.mark.parametrize(
    ("said", "variant"), [({}, ""), ({"is_distilled": True}, ""), ({"is_distilled": False}, "base")]
)
async def test_a_base_is_told_by_what_the_pipeline_says(
    tmp_path: Path, said: dict[str, Any], variant: str
) -> None:
    folder = tmp_path / "model"
    write_json(folder / "model_index.json", _class_name="Flux2KleinPipeline", **said)
    settings = {"_class_name": "Flux2Transformer2DModel", "joint_attention_dim": 7680}
    write_json(folder / "transformer" / "config.json", **settings)
    write(folder / "transformer" / "model.safetensors", {"a.weight": (1,)})
    assert await told(folder) == ("checkpoint", "flux2-klein-4b", variant)


@pytest.mark.parametrize(
    ("class_name", "expected"),
    [
        ("AutoencoderKLFlux2", ("vae", "flux2", "")),
        ("AutoencoderKLQwenImage", ("vae", "qwen-image", "")),
        ("AutoencoderDC", ("model_other", "a VAE of Sana (DC-AE)")),
    ],
)
async def test_vaes_by_their_class(
    tmp_path: Path, class_name: str, expected: tuple[str, ...]
) -> None:
    folder = tmp_path / "a-vae"
    write_json(folder / "config.json", _class_name=class_name)
    write(folder / "model.safetensors", {"decoder.conv_in.weight": (1,)})
    assert await told(folder) == expected


async def test_controlnets_of_sd3_are_told_by_their_config(tmp_path: Path) -> None:
    reads: dict[str, Any] = {"joint_attention_dim": 4096, "num_attention_heads": 24}
    for name, said in (
        ("old", reads),
        ("normed", {**reads, "qk_norm": "rms_norm"}),
        ("large", {"joint_attention_dim": None, "num_attention_heads": 38}),
        ("masked", {**reads, "extra_conditioning_channels": 1}),
    ):
        write_json(tmp_path / name / "config.json", _class_name="SD3ControlNetModel", **said)
        write(tmp_path / name / "diffusion_pytorch_model.safetensors", {"weight": (2, 2)})
    found = await scan(tmp_path)
    told = {net.name: net.family for net in found.controlnets}
    assert told == {"old": "sd3", "normed": "sd3.5", "large": "sd3.5"}
    assert [problem.path.name for problem in found.problems] == ["masked"]


async def test_controlnets_of_flux_are_told_by_their_config(tmp_path: Path) -> None:
    for name, said in (
        ("lines", {}),
        ("union", {"num_mode": 10}),
        ("pixels", {"conditioning_embedding_channels": 16}),
        ("masked", {"extra_condition_channels": 4}),
    ):
        write_json(tmp_path / name / "config.json", _class_name="FluxControlNetModel", **said)
        write(tmp_path / name / "diffusion_pytorch_model.safetensors", {"weight": (2, 2)})
    found = await scan(tmp_path)
    told = {net.name: (net.family, net.variant) for net in found.controlnets}
    alike = dict.fromkeys(("lines", "pixels"), ("flux", ""))
    assert told == {**alike, "union": ("flux", "union")}
    refused = {problem.path.name: problem.params["what"] for problem in found.problems}
    assert refused.keys() == {"masked"}
    assert "mask" in refused["masked"]
