"""Infotexts as programs write them, by what of them is read."""

import random

import msgspec
import pytest
from hypothesis import assume, given

from generation import metadata
from generation.info import a1111, own, reading
from generation.info.found import Info, NamedFile
from generation.metadata import INFOTEXT_MAX, About
from generation.models import ModelKind
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_parts import LoraUse
from tests.fixtures.fuzz import CASES, texts
from tests.fixtures.requests import a_request
from tests.unit.generation.texts import requests

A1111 = """a (cat:1.2), "so: it, is" <lora:ink\\: old, fine:0.8:0.5> ，full：width
Negative prompt: fog, (blur:1.4)
 in two lines
Steps: 25, Sampler: DPM++ 2M SDE, Schedule type: Exponential, CFG scale: 6.5, Seed: 4294967295, \
Size: 832x1216, Model hash: 31e35c80fc, Model: sd_xl, base: 1.0, VAE hash: 235745af8d, \
VAE: sdxl_vae.safetensors, Variation seed: 77, Variation seed strength: 0.2, Clip skip: 2, \
ENSD: 31337, Lora hashes: "ink old fine: 0123456789ab", TI hashes: "easynegative: c74b4e810b03", \
Version: v1.10.1"""
FORGE = """a cat
Steps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Distilled CFG Scale: 3.5, Seed: 7, \
Size: 896x1152, Model hash: 2e5a9d1f2c, Model: flux1-dev-fp8, Version: f2.0.1v1.10.1-previous-664, \
Diffusion in Low Bits: Automatic (fp16 LoRA), Module 1: ae, Module 2: clip_l, Module 3: t5xxl_fp8"""
SD_NEXT = """a cat
Negative prompt: fog
Steps: 20, Size: 1024x1024, Sampler: UniPC, Seed: 7, CFG scale: 6, App: SD.Next, \
Version: 1a2b3c4, Pipeline: StableDiffusionXLPipeline, Operations: txt2img, Model: juggernaut, \
Model hash: 33e58e8668"""
CIVITAI = """a cat
Negative prompt: fog
Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 7, Size: 1024x1024, Clip skip: 2, \
Created Date: 2025-02-03T10:11:12.1234567Z, Civitai resources: [{"type":"checkpoint",\
"modelVersionId":128713,"modelName":"Dream, Shaper","modelVersionName":"8"},\
{"type":"lora","weight":0.8,"modelVersionId":1}], Civitai metadata: {}"""
OLD = """a cat
Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 7, Size: 512x512, Model hash: 81761151"""
IMG2IMG = """a cat
Steps: 20, Sampler: DDIM, CFG scale: 7, Seed: 7, Size: 512x512, Denoising strength: 0.6, \
Mask blur: 4, ControlNet 0: "Module: canny, Model: control_v11p_sd15_canny [d14c016b], Weight: 1", \
Version: v1.6.0"""
FOOOCUS = """a cat
Negative prompt: fog
Steps: 30, Sampler: DPM++ 2M SDE, Seed: 7, Size: 1152x896, CFG scale: 4, Sharpness: 2, \
ADM Guidance: "(1.5, 0.8, 0.3)", Model: juggernautXL_v8, Model hash: aeb7e9e689, \
Performance: Speed, Lora hashes: "sd_xl_offset: 4852686128: 0.1, two: 0123456789: 0.5", \
Lora weights: "sd_xl_offset: 0.1, two: 0.5", Metadata scheme: a1111, Version: Fooocus v2.5.0"""
COMFYUI = """a cat
Negative prompt: fog
Steps: 20, Sampler: dpmpp_2m_karras, CFG scale: 8.0, Seed: 7, Size: 512x512, Model: dream, \
Version: ComfyUI"""


def read(text: str) -> Info:
    return reading.read({"parameters": text}, "cat.png")


def test_a1111s_is_read_whole() -> None:
    info = read(A1111)
    assert info == Info(
        program="AUTOMATIC1111",
        prompt='a (cat:1.2), "so: it, is" ，full：width',
        negative_prompt="fog, (blur:1.4)\n in two lines",
        given={
            "steps": 25,
            "sampler": "DPM++ 2M SDE",
            "schedule": "Exponential",
            "guidance": 6.5,
            "seed": 4294967295,
            "width": 832,
            "height": 1216,
            "variation_seed": 77,
            "variation_strength": 0.2,
            "clip_skip": 2,
        },
        files={
            "model": NamedFile(ModelKind.CHECKPOINT, "sd_xl", "31e35c80fc"),
            "vae": NamedFile(ModelKind.VAE, "sdxl_vae.safetensors", "235745af8d"),
        },
        loras=(LoraUse("ink: old, fine", 0.5, 0.8),),
        lora_hashes={"ink: old, fine": "0123456789ab"},
        embeddings=(NamedFile(ModelKind.EMBEDDING, "easynegative", "c74b4e810b03"),),
        # A1111 itself doesn't quote a model's name, so that its comma ends it
        ignored=("base", "ENSD"),
        text=A1111,
    )


@pytest.mark.parametrize(
    ("text", "program", "given", "model", "ignored"),
    [
        (FORGE, "Forge", {"distilled": 3.5, "schedule": "Simple"}, "flux1-dev-fp8", 1),
        (SD_NEXT, "SD.Next", {"sampler": "UniPC", "guidance": 6.0}, "juggernaut", 2),
        (CIVITAI, "Civitai", {"sampler": "Euler a", "clip_skip": 2}, "Dream, Shaper 8", 1),
        (OLD, "AUTOMATIC1111", {"sampler": "DPM++ 2M Karras", "steps": 20}, "", 0),
        (IMG2IMG, "AUTOMATIC1111", {"sampler": "DDIM", "seed": 7}, None, 0),
        (FOOOCUS, "Fooocus", {"guidance": 4.0, "seed": 7}, "juggernautXL_v8", 3),
        (COMFYUI, "ComfyUI", {"sampler": "dpmpp_2m_karras", "guidance": 8.0}, "dream", 0),
    ],
    ids=["forge", "sd.next", "civitai", "old", "img2img", "fooocus", "comfyui"],
)
def test_each_programs_is_told_and_read(
    text: str, program: str, given: dict[str, object], model: str | None, ignored: int
) -> None:
    info = read(text)
    assert (info.program, info.prompt) == (program, "a cat")
    assert given.items() <= info.given.items()
    named = info.files.get("model")
    assert (named.name if named is not None else None) == model
    assert len(info.ignored) == ignored
    assert info.conventions == ("comfyui" if program == "ComfyUI" else "a1111")


def test_what_stands_beside_the_options() -> None:
    assert read(OLD).files["model"].hash == "81761151"
    assert [note.code for note in read(IMG2IMG).notes] == [
        "info_start_picture",
        "info_control_picture",
    ]
    assert read(IMG2IMG).beside == (
        NamedFile(ModelKind.CONTROLNET, "control_v11p_sd15_canny", "d14c016b"),
    )
    assert not {"denoising", "mask_blur"} & read(IMG2IMG).given.keys()
    assert read(FOOOCUS).loras == (LoraUse("sd_xl_offset", 0.1), LoraUse("two", 0.5))
    assert read(FOOOCUS).lora_hashes["two"] == "0123456789"


def test_a_value_that_cant_be_read_leaves_all_for_people() -> None:
    info = read(OLD.replace("512x512", "large"))
    assert info.refused is not None
    assert info.refused.code == "infotext_value"
    assert info.prompt == info.text


def test_a_prompt_alone_is_one() -> None:
    info = read("a cat <lora:ink:0.5>")
    assert (info.prompt, info.loras) == ("a cat", (LoraUse("ink", 0.5),))


@given(requests())
def test_our_own_is_read_to_the_last_option(request: GenerationRequest) -> None:
    assume("<" not in request.prompt)
    about = About(request=request, index=0, seed=request.seed, hashes={"checkpoint:x": "a" * 64})
    info = reading.read({"darkroom": msgspec.json.encode(about).decode()}, "cat.png")
    assert info.request == request
    assert (info.hashes, info.loras) == (about.hashes, request.loras)
    assert (info.program, info.prompt) == ("Darkroom", request.prompt)


def test_own_data_of_another_version_are_none() -> None:
    about = About(request=a_request(), index=0, seed=7)
    text = msgspec.json.encode(about).decode()
    for changed in (
        text.replace('"steps":4', '"steps":4000'),
        text.replace('"steps":4', '"stages":4'),
        text.replace("lighthouse", "\\ud800"),
        text[:-1],
        "[" * 100_000,
        "",
    ):
        assert own.read(changed) is None
    both = {"darkroom": text[:-1], "parameters": metadata.infotext(about)}
    assert reading.read(both, "cat.png").request is None


@pytest.mark.parametrize("count", CASES)
def test_any_text_is_read_or_refused(count: int) -> None:
    pieces = [
        *(
            "Steps: ",
            "Sampler: ",
            "Seed: ",
            "Size: 8x8",
            "Model: ",
            "Negative prompt: ",
            ", ",
            ": ",
        ),
        *("Hashes: {", "Lora hashes: ", "Civitai resources: [{", "}]", '"', "<lora:", ">", "\n"),
        *("ControlNet 0: ", "TI hashes: ", "Distilled CFG Scale: ", "Version: Fooocus", "a: b: c"),
        *("Lora weights: ", "Refiner: x [0123456789]", "Denoising strength: ", "[" * 2000),
    ]
    chance = random.Random(count)
    for text in texts(count, pieces):
        keyword = chance.choice(["parameters", "UserComment", "Comment", "darkroom"])
        code = "read"
        try:
            reading.read({keyword: text}, "cat.png")
        except Refused as refused:
            code = refused.code
        assert code in ("read", "data_none", "data_too_long", "data_damaged")


def test_long_texts_take_no_longer_than_their_length() -> None:
    for piece in (" ", "a: ", "a, ", "(", "[", '"', "{", "a: [{", ": ", "ControlNet 0: x, "):
        text = ("Steps: 1, Seed: 2, Lora hashes: " + piece * INFOTEXT_MAX)[:INFOTEXT_MAX]
        a1111.read(text)
    with pytest.raises(Refused) as refused:
        read("a" * (INFOTEXT_MAX + 1))
    assert refused.value.code == "data_too_long"
