"""What the catalogue makes of the files that people have, from their headers alone."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bot.locales import Texts
from generation.catalog import Catalog
from generation.families import DESCRIBED
from generation.model_reader import VARIANT_TITLES, ModelReader
from generation.models import UNKNOWN_FITS, ModelFile, ModelKind
from generation.refusal import Refused
from tests.unit.generation.catalogs import a_model

Shapes = Mapping[str, tuple[int, ...]]

CONTEXT = "model.diffusion_model.input_blocks.{}.1.transformer_blocks.0.attn2.to_k.weight"
SD1: Shapes = {
    "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
    CONTEXT.format(1): (320, 768),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
    "cond_stage_model.transformer.text_model.final_layer_norm.weight": (768,),
}
SD2: Shapes = {
    "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
    CONTEXT.format(1): (320, 1024),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
    "cond_stage_model.model.token_embedding.weight": (49408, 1024),
}
SD_TURBO: Shapes = {
    name.replace("cond_stage_model.", "conditioner.embedders.0."): shape
    for name, shape in SD2.items()
}
SDXL: Shapes = {
    CONTEXT.format(4): (640, 2048),
    "model.diffusion_model.label_emb.0.0.weight": (1280, 2816),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
    "conditioner.embedders.0.transformer.text_model.final_layer_norm.weight": (768,),
    "conditioner.embedders.1.model.ln_final.weight": (1280,),
}
REFINER: Shapes = {
    CONTEXT.format(4): (768, 1280),
    "model.diffusion_model.label_emb.0.0.weight": (1536, 2560),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
    "conditioner.embedders.0.model.ln_final.weight": (1280,),
}
SD3: Shapes = {"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": (4608, 1536)}
FLUX: Shapes = {"double_blocks.0.img_attn.qkv.weight": (9216, 3072)}
VAE: Shapes = {"decoder.conv_in.weight": (512, 4, 3, 3), "encoder.conv_in.weight": (128, 3, 3, 3)}
CONTROLNET: Shapes = {
    "control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
    "control_model.zero_convs.0.0.weight": (320, 320, 1, 1),
}
CONTROLNET_BARE: Shapes = {
    name.removeprefix("control_model."): shape for name, shape in CONTROLNET.items()
}
CONTROLNET_DIFFUSERS: Shapes = {
    "controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": (320, 1024),
}


def kohya(width: int) -> Shapes:
    block = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    return {f"{block}.lora_down.weight": (8, width), f"{block}.lora_up.weight": (320, 8)}


def peft(width: int) -> Shapes:
    block = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    return {f"{block}.lora_A.weight": (8, width), f"{block}.lora_B.weight": (320, 8)}


TEXT_ONLY: Shapes = {
    "lora_te_text_model_encoder_layers_0_self_attn_k_proj.lora_down.weight": (8, 1024),
    "lora_te_text_model_encoder_layers_0_self_attn_k_proj.lora_up.weight": (1024, 8),
}


def write(file: Path, shapes: Shapes, **metadata: str) -> Path:
    """A safetensors file with these float16 tensors, all zero, on disk as a hole."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, shape in shapes.items():
        start, size = end, 2
        for side in shape:
            size *= side
        end = start + size
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        out.truncate(8 + len(text) + end)
    return file


def write_json(file: Path, **content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def write_folder(folder: Path, context_width: int = 192) -> Path:
    """A Stable Diffusion model in diffusers' layout, of 16 latents a side and factor 8."""
    write_json(folder / "model_index.json", _class_name="StableDiffusionPipeline")
    write_json(folder / "unet/config.json", sample_size=16, cross_attention_dim=context_width)
    write_json(folder / "vae/config.json", block_out_channels=[16, 48, 96, 160])
    scheduler = folder / "scheduler/scheduler_config.json"
    write_json(scheduler, prediction_type="v_prediction")
    for part in ("unet", "vae", "text_encoder"):
        write(folder / part / "model.safetensors", {"weight": (2, 2)})
    write_json(folder / "tokenizer/vocab.json", a=0)
    return folder


async def scan(*folders: Path) -> Catalog:
    catalog = Catalog(folders)
    await catalog.scan()
    return catalog


async def only(folder: Path) -> ModelFile:
    catalog = await scan(folder)
    assert catalog.problems == ()
    assert len(catalog.all) == 1
    return catalog.all[0]


async def problem(folder: Path) -> tuple[str, dict[str, str]]:
    catalog = await scan(folder)
    assert catalog.all == []
    assert len(catalog.problems) == 1
    return catalog.problems[0].code, catalog.problems[0].params


@pytest.mark.parametrize(
    ("shapes", "kind", "family"),
    [
        (SD1, ModelKind.CHECKPOINT, "sd1"),
        (SD2, ModelKind.CHECKPOINT, "sd2"),
        (SD_TURBO, ModelKind.CHECKPOINT, "sd2"),
        (SDXL, ModelKind.CHECKPOINT, "sdxl"),
        (REFINER, ModelKind.CHECKPOINT, "sdxl-refiner"),
        (SD3, ModelKind.CHECKPOINT, "sd3"),
        (FLUX, ModelKind.CHECKPOINT, "flux"),
        (VAE, ModelKind.VAE, "sd"),
        (CONTROLNET, ModelKind.CONTROLNET, "sd1"),
        (CONTROLNET_BARE, ModelKind.CONTROLNET, "sd1"),
        (CONTROLNET_DIFFUSERS, ModelKind.CONTROLNET, "sd2"),
        (kohya(768), ModelKind.LORA, "sd1"),
        (kohya(1024), ModelKind.LORA, "sd2"),
        (kohya(2048), ModelKind.LORA, "sdxl"),
        (peft(1024), ModelKind.LORA, "sd2"),
        (TEXT_ONLY, ModelKind.LORA, "sd2"),
    ],
)
async def test_kind_and_family_are_told_by_the_tensors(
    tmp_path: Path, shapes: Shapes, kind: ModelKind, family: str
) -> None:
    file = write(tmp_path / "some folder" / "file.safetensors", shapes)
    found = await only(tmp_path)
    assert (found.kind, found.family, found.name, found.path) == (kind, family, "file", file)
    assert found.size == file.stat().st_size


async def test_the_trainer_s_word_goes_before_the_shapes(tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors", kohya(999), ss_base_model_version="sdxl_base_v1-0")
    assert (await only(tmp_path)).family == "sdxl"


async def test_marks_of_v_prediction_and_zero_snr(tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors", {**SD1, "v_pred": (0,), "ztsnr": (0,)})
    found = await only(tmp_path)
    assert found.v_prediction
    assert found.zero_terminal_snr


@pytest.mark.parametrize(
    ("metadata", "v_prediction"),
    [
        ({}, None),
        ({"modelspec.prediction_type": "epsilon"}, False),
        ({"modelspec.prediction_type": "v"}, True),
    ],
)
async def test_what_a_single_file_says_of_its_prediction(
    tmp_path: Path, metadata: dict[str, str], v_prediction: bool | None
) -> None:
    write(tmp_path / "mine.safetensors", SD2, **metadata)
    assert (await only(tmp_path)).v_prediction is v_prediction


async def test_sdxl_without_a_mark_predicts_epsilon(tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors", SDXL)
    write(tmp_path / "b.safetensors", {**SDXL, "v_pred": (0,)})
    write(tmp_path / "c.safetensors", SDXL, **{"modelspec.prediction_type": "v"})
    found = await scan(tmp_path)
    assert [model.v_prediction for model in found.checkpoints] == [False, True, True]


async def test_a_folder_of_diffusers(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "diffusers" / "demo")
    found = await only(tmp_path)
    assert (found.kind, found.name, found.path) == (ModelKind.CHECKPOINT, "demo", folder)
    assert (found.family, found.native_size, found.v_prediction) == ("sd1", 128, True)
    assert found.is_folder


async def test_a_folder_of_stable_diffusion_2(tmp_path: Path) -> None:
    write_folder(tmp_path / "two", context_width=1024)
    assert (await only(tmp_path)).family == "sd2"


async def test_a_controlnet_folder_and_a_vae_folder(tmp_path: Path) -> None:
    for name, class_ in (("edges", "ControlNetModel"), ("fine", "AutoencoderKL")):
        write_json(tmp_path / name / "config.json", _class_name=class_, cross_attention_dim=192)
        write(tmp_path / name / "diffusion_pytorch_model.safetensors", {"weight": (2, 2)})
    found = await scan(tmp_path)
    assert [(model.kind, model.name) for model in found.all] == [
        (ModelKind.CONTROLNET, "edges"),
        (ModelKind.VAE, "fine"),
    ]
    # of a width that no published model has
    assert found.controlnets[0].family == "sd"


@pytest.mark.parametrize(
    ("settings", "family"),
    [
        ({}, "sd1"),
        ({"latent_channels": 4, "scaling_factor": 0.18215}, "sd1"),
        ({"latent_channels": 4, "scaling_factor": 0.13025}, "sdxl"),
        ({"latent_channels": 16, "scaling_factor": 0.3611}, "flux"),
    ],
)
async def test_the_family_of_a_vae_folder(
    tmp_path: Path, settings: dict[str, Any], family: str
) -> None:
    write_json(tmp_path / "fine" / "config.json", _class_name="AutoencoderKL", **settings)
    write(tmp_path / "fine" / "diffusion_pytorch_model.safetensors", {"weight": (2, 2)})
    (vae,) = (await scan(tmp_path)).vaes
    assert vae.family == family


async def test_the_name_of_a_vae_tells_nothing(tmp_path: Path) -> None:
    """Those of SD1 and SDXL have the same tensors, and may be tried with both."""
    for name in ("sdxl_vae", "vae-ft-mse-840000-ema-pruned"):
        write(tmp_path / f"{name}.safetensors", VAE)
    spec = {"modelspec.architecture": "stable-diffusion-xl-v1-base/vae"}
    write(tmp_path / "that says it.safetensors", VAE, **spec)
    found = (await scan(tmp_path)).vaes
    assert [vae.family for vae in found] == ["sd", "sdxl", "sd"]
    both = found[0]
    assert all(DESCRIBED[family].takes_vae_of(both.family) for family in UNKNOWN_FITS)
    assert not DESCRIBED["sd1"].takes_vae_of("sdxl")


async def test_the_layouts_of_comfyui_and_of_a1111(tmp_path: Path) -> None:
    for folder, name, shapes in (
        ("comfy/checkpoints/anime", "one", SD1),
        ("comfy/loras", "style", kohya(768)),
        ("comfy/controlnet", "edges", CONTROLNET),
        ("a1111/Stable-diffusion", "two", SD1),
        ("a1111/Lora/people", "face", kohya(768)),
        ("a1111/VAE", "fine", VAE),
    ):
        write(tmp_path / folder / f"{name}.safetensors", shapes)
    # what other programs keep there is nobody's mistake
    for other in (
        "comfy/upscale_models/4x.pth",
        "a1111/ESRGAN/4x.pth",
        "comfy/clip/t5.bin",
    ):
        (tmp_path / other).parent.mkdir(parents=True)
        (tmp_path / other).write_bytes(b"PK")
    write_json(tmp_path / "a1111" / "config.json", samples_save=True)
    found = await scan(tmp_path / "comfy", tmp_path / "a1111")
    assert {problem.code for problem in found.problems} == {"model_convertible"}
    assert [problem.path.parent.name for problem in found.problems] == ["upscale_models", "ESRGAN"]
    assert [model.name for model in found.checkpoints] == ["one", "two"]
    assert [model.name for model in found.loras] == ["face", "style"]


async def test_trigger_words(tmp_path: Path) -> None:
    tags = json.dumps({"10_a": {"pixel art": 9, "cat": 4}, "5_b": {"pixel art": 1, "8bit": 10}})
    write(tmp_path / "kohya.safetensors", kohya(768), ss_tag_frequency=tags)
    phrase = {"modelspec.trigger_phrase": "pixelated, in squares"}
    write(tmp_path / "spec.safetensors", kohya(768), **phrase)
    write(tmp_path / "wrong.safetensors", kohya(768), ss_tag_frequency="[1]")
    sentence = "a woman who stands on a hill and looks at the sea, at dusk"
    captions = json.dumps({"10_a": {sentence: 1, "another": 1}})
    write(tmp_path / "captions.safetensors", kohya(768), ss_tag_frequency=captions)
    words = {model.name: model.trigger_words for model in (await scan(tmp_path)).loras}
    assert words == {
        "captions": (),
        "kohya": ("8bit", "pixel art"),
        "spec": ("pixelated", "in squares"),
        "wrong": (),
    }


async def test_equal_names_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for place in ("a/x.safetensors", "b/x.safetensors", "b/c/x.safetensors"):
        write(tmp_path / "loras" / place, kohya(768))
    write(tmp_path / "x.safetensors", SD1)
    found = await scan(tmp_path)
    assert [model.name for model in found.loras] == ["loras/b/c/x", "loras/b/x", "x"]
    assert [model.name for model in found.checkpoints] == ["x"]


@pytest.mark.parametrize("suffix", ["ckpt", "pt", "pth", "bin"])
async def test_a_pickle_is_never_opened(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"model.{suffix}").write_bytes(b"\x80\x02cos\nsystem\n")
    assert await problem(tmp_path) == ("model_pickle", {"file": f"model.{suffix}"})


async def test_a_pickle_that_was_converted_is_no_problem_any_more(tmp_path: Path) -> None:
    for folder in ("checkpoints", "embeddings"):
        (tmp_path / folder).mkdir()
        for name in ("old.ckpt", "new.pt"):
            (tmp_path / folder / name).touch()
        write(tmp_path / folder / "old.safetensors", SD1)
    found = await scan(tmp_path)
    assert [(problem.path.name, problem.code) for problem in found.problems] == [
        ("new.pt", "model_pickle"),
        ("new.pt", "model_convertible"),
    ]


async def test_a_folder_of_pickles(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "old")
    (folder / "unet" / "model.safetensors").rename(folder / "unet" / "model.bin")
    code, params = await problem(tmp_path)
    assert (code, params["file"]) == ("model_pickle", "old/unet")


async def test_a_download_that_was_cut_off(tmp_path: Path) -> None:
    file = write(tmp_path / "a.safetensors", SD1)
    os.truncate(file, file.stat().st_size - 10)
    code, params = await problem(tmp_path)
    assert code == "model_broken"
    assert params == {"file": "a.safetensors", "why": "10 bytes are missing at its end"}


async def test_a_folder_with_a_file_cut_off(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a")
    file = folder / "vae" / "model.safetensors"
    os.truncate(file, file.stat().st_size - 1)
    code, params = await problem(tmp_path)
    assert (code, params["file"]) == ("model_broken", "a/vae/model.safetensors")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x01",
        (1000).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{}",
        (12).to_bytes(8, "little") + b'{"a": "b"}  ',
    ],
)
async def test_what_is_no_safetensors_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    code, params = await problem(tmp_path)
    assert (code, params["file"]) == ("model_broken", "a.safetensors")


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><html>Sign in</html>",
        b"\n\n<html lang=en>",
        b'{"error":"Unauthorized","message":"Please log in"}',
        b"Invalid username or password.",
        b"Access to model x is restricted. You must have access to it.",
    ],
)
async def test_what_a_download_without_a_login_leaves(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content * 9)
    assert (await problem(tmp_path))[0] == "model_page"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04" + bytes(300), "zip"),
        (b"\x80\x02}q\x00(X" + bytes(300), "torch"),
        (b"GGUF\x03\x00\x00\x00" + b"\x09" * 300, "GGUF"),
        (b"\x89PNG\r\n\x1a\n" + bytes(300), "picture"),
    ],
)
async def test_another_file_with_a_models_ending(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    code, params = await problem(tmp_path)
    assert code == "model_misnamed"
    assert what in params["why"]


async def test_a_pointer_of_git_lfs(tmp_path: Path) -> None:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4000000000\n"
    (tmp_path / "a.safetensors").write_text(text)
    assert (await problem(tmp_path))[0] == "model_lfs_pointer"


@pytest.mark.parametrize(
    "shapes",
    [
        {"some.weight": (3, 3)},
        {"something_else.hada_w1_a": (4, 4), "something_else.hada_w1_b": (4, 4)},
        {CONTEXT.format(4): (7, 7)},
    ],
)
async def test_tensors_of_no_known_layout(tmp_path: Path, shapes: Shapes) -> None:
    write(tmp_path / "a.safetensors", shapes)
    assert await problem(tmp_path) == ("model_unknown_layout", {"file": "a.safetensors"})


async def test_a_checkpoint_that_could_not_draw_alone(tmp_path: Path) -> None:
    depth = {"model.diffusion_model.input_blocks.0.0.weight": (320, 5, 3, 3)}
    no_vae = {name: shape for name, shape in SD1.items() if "first_stage" not in name}
    write(tmp_path / "depth.safetensors", {**SD1, **depth})
    write(tmp_path / "unet.safetensors", no_vae)
    found = await scan(tmp_path)
    assert found.all == []
    assert [(problem.code, *problem.params.values()) for problem in found.problems] == [
        ("model_variant", "depth.safetensors", VARIANT_TITLES["depth"]),
        ("model_broken", "unet.safetensors", "it has no VAE"),
    ]


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert await problem(nowhere) == ("folder_missing", {"folder": str(nowhere)})


async def test_links_that_go_in_circles_or_nowhere(tmp_path: Path) -> None:
    write(tmp_path / "loras" / "a.safetensors", kohya(768))
    (tmp_path / "loras" / "round").symlink_to(tmp_path)
    (tmp_path / "loras" / "gone.safetensors").symlink_to(tmp_path / "nothing")
    found = await scan(tmp_path, tmp_path / "loras")
    assert [model.name for model in found.all] == ["a"]
    assert [(problem.path.name, problem.code) for problem in found.problems] == [
        ("gone.safetensors", "model_broken")
    ]


async def test_scanning_again_sees_what_changed_and_reads_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "one.safetensors", SD1)
    write_folder(tmp_path / "two")
    catalog = await scan(tmp_path)
    monkeypatch.setattr(ModelReader, "read", lambda *_: pytest.fail("read again"))
    await catalog.scan()
    assert [model.name for model in catalog.all] == ["one", "two"]
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "two")
    write(tmp_path / "one.safetensors", SD2)
    write(tmp_path / "three.safetensors", SD1)
    await catalog.scan()
    assert [(m.name, m.family) for m in catalog.all] == [("one", "sd2"), ("three", "sd1")]


async def test_names_are_found_whatever_their_case_and_nearly(tmp_path: Path) -> None:
    for name in ("dreamy", "Dreamer", "photo", "DREAMY"):
        write(tmp_path / f"{name}.safetensors", SD1)
    catalog = await scan(tmp_path)
    assert catalog.get(ModelKind.CHECKPOINT, "DREAMY").name == "DREAMY"
    assert catalog.get(ModelKind.CHECKPOINT, "dreamer").name == "Dreamer"
    with pytest.raises(Refused) as refused:
        catalog.get(ModelKind.CHECKPOINT, "dreany")
    assert refused.value.code == "checkpoint_unknown"
    assert refused.value.params["name"] == "dreany"
    nearest = str(refused.value.params["nearest"]).split(", ")
    assert nearest[0] == "dreamy"
    assert len(nearest) == 3
    with pytest.raises(Refused, match="lora_unknown"):
        catalog.get(ModelKind.LORA, "dreamy")


@pytest.mark.parametrize("name", ["Dream", "dream.safetensors"])
async def test_who_asks_for_a_file_that_cannot_be_used_is_told_why(
    tmp_path: Path, name: str
) -> None:
    file = write(tmp_path / "dream.safetensors", SD1)
    cases = {
        "model_broken": file.read_bytes()[:-10],
        "model_page": b"<!DOCTYPE html><html><body>Log in</body></html>",
        "model_misnamed": b"PK\x03\x04" + bytes(100),
    }
    for code, content in cases.items():
        file.write_bytes(content)
        catalog = await scan(tmp_path)
        for kind in (ModelKind.CHECKPOINT, ModelKind.LORA):
            with pytest.raises(Refused) as refused:
                catalog.get(kind, name)
            assert (refused.value.code, refused.value.params["file"]) == (code, file.name)
            said = Texts("en-US")(code, **refused.value.params)
            assert file.name in said
            assert str(tmp_path) not in said


def test_the_process_that_has_the_catalogue_and_the_engine_never_imports_torch() -> None:
    code = (
        "import sys, generation.catalog, generation.worker, generation.engines.process\n"
        "heavy = {'torch', 'diffusers', 'numpy', 'generation.runtime'} & {*sys.modules}\n"
        "sys.exit(str(heavy) if heavy else None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def write_header(file: Path, header: str) -> None:
    file.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(2))


TENSOR = (
    '"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": '
    '{"dtype": "F16", "shape": [1, 1], "data_offsets": [0, 2]}'
)


@pytest.mark.parametrize(
    "metadata",
    ["null", "[]", '{"ss_base_model_version": null}', '{"modelspec.trigger_phrase": ["a"]}'],
)
async def test_odd_metadata_is_passed_over(tmp_path: Path, metadata: str) -> None:
    write_header(tmp_path / "a.safetensors", f'{{"__metadata__": {metadata}, {TENSOR}}}')
    assert (await only(tmp_path)).family == "sd"


async def test_one_odd_file_does_not_hide_the_others(tmp_path: Path) -> None:
    write_header(tmp_path / "deep.safetensors", '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}")
    for name, content in (("listed", '{"_class_name": []}'), ("nested", "[" * 100_000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(content)
    write(tmp_path / "good.safetensors", SD1)
    found = await scan(tmp_path)
    assert [model.name for model in found.all] == ["good"]
    assert [problem.path.name for problem in found.problems] == ["deep.safetensors"]


async def test_an_entry_that_cannot_be_looked_at_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "good.safetensors", SD1)
    (tmp_path / "link").symlink_to("link")
    assert [model.name for model in (await scan(tmp_path)).all] == ["good"]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("diffusion_model.blocks.0.cross_attn.k.lora_A.weight", "a LoRA for videos (Wan)"),
        ("lora_unet_blocks_0_cross_attn_k.lora_down.weight", "a LoRA for videos (Wan)"),
        ("transformer.transformer_blocks.0.attn.to_k.lora_A.weight", None),
        (
            "base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight",
            "a LoRA for a language model",
        ),
        (
            "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.oft_R.weight",
            "a LoRA of a method that can't be used here (peft's OFT)",
        ),
    ],
)
async def test_a_lora_for_something_else_is_not_offered(
    tmp_path: Path, name: str, what: str | None
) -> None:
    write(tmp_path / "a.safetensors", {name: (8, 768)})
    code, params = await problem(tmp_path)
    assert (code, params.get("what")) == ("model_other" if what else "model_unknown_layout", what)


async def test_a_lora_of_no_attention_is_of_some_stable_diffusion(tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors", {"lora_unet_up_blocks_0_conv.lora_down.weight": (8, 320)})
    found = await only(tmp_path)
    assert (found.family, found.context_width) == ("sd", 0)
    assert found.fits(a_model("any", family="sdxl", context_width=2048))
    assert not found.fits(a_model("other", family="flux"))


async def test_a_small_models_parts_fit_that_model_only(tmp_path: Path) -> None:
    write_folder(tmp_path / "demo")
    write(tmp_path / "large.safetensors", SD1)
    for width in (192, 768):
        write(tmp_path / "loras" / f"for-{width}.safetensors", kohya(width))
    catalog = await scan(tmp_path)
    demo, large = catalog.checkpoints
    fits = {
        (lora.name, model.name)
        for lora in catalog.loras
        for model in (demo, large)
        if lora.fits(model)
    }
    assert fits == {("for-192", "demo"), ("for-768", "large")}


async def test_a_folder_that_comes_back_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "drive"
    write(folder / "a.safetensors", SD1)
    catalog = Catalog([folder])
    await catalog.scan()
    folder.rename(tmp_path / "away")
    for _ in range(2):
        await catalog.scan()
        assert catalog.all == []
        assert [problem.code for problem in catalog.problems] == ["folder_missing"]
    (tmp_path / "away").rename(folder)
    monkeypatch.setattr(ModelReader, "read", lambda *_: pytest.fail("read again"))
    await catalog.scan()
    assert [model.name for model in catalog.all] == ["a"]
    assert catalog.problems == ()


async def test_a_name_may_carry_the_files_ending(tmp_path: Path) -> None:
    write(tmp_path / "Dream_8.safetensors", SD1)
    catalog = await scan(tmp_path)
    assert catalog.get(ModelKind.CHECKPOINT, "dream_8.safetensors").name == "Dream_8"
