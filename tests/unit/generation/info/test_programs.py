"""Tables and flags as programs write them, by what of them is read."""

import json
import random
from typing import Any

import pytest

from generation.info import compel, novelai, reading
from generation.info.found import KEYWORDS, Info, NamedFile
from generation.models import ModelKind
from generation.refusal import Refused
from generation.request_parts import LoraUse
from tests.fixtures.fuzz import ANY, CASES

CHECKPOINT = ModelKind.CHECKPOINT
PROMPT = 'a (cat:1.2), "so: it, is" ，full：width'

FOOOCUS = {
    "adm_guidance": "(1.5, 0.8, 0.3)",
    "base_model": "juggernautXL_v8Rundiffusion",
    "base_model_hash": "aeb7e9e689",
    "clip_skip": 2,
    "created_by": None,
    "full_negative_prompt": ["fog", "unreal"],
    "full_prompt": [PROMPT, "cinematic still"],
    "guidance_scale": 4,
    "loras": [["sd_xl_offset.safetensors", 0.1, "4852686128"]],
    "metadata_scheme": "fooocus",
    "negative_prompt": "fog",
    "performance": "Speed",
    "prompt": "a cat",
    "refiner_model": "None",
    "refiner_switch": 0.5,
    "resolution": "(1152, 896)",
    "sampler": "dpmpp_2m_sde_gpu",
    "scheduler": "karras",
    "seed": "7495612322837893",
    "sharpness": 2,
    "steps": 30,
    "styles": "['Fooocus V2']",
    "vae": "Default (model)",
    "version": "Fooocus v2.5.0",
}
SWARM = {
    "sui_image_params": {
        "prompt": PROMPT + " <lora:ink:0.5>",
        "negativeprompt": "fog",
        "model": "OfficialStableDiffusion/sd_xl_base_1.0",
        "seed": 1451,
        "steps": 20,
        "cfgscale": 7.0,
        "aspectratio": "1:1",
        "width": 1024,
        "height": 1024,
        "sampler": "dpmpp_2m",
        "scheduler": "karras",
        "loras": ["styles/paper"],
        "loraweights": ["0.75"],
        "automaticvae": True,
        "clipstopatlayer": "-2",
        "swarm_version": "0.9.3.1",
        "zeronegative": False,
    },
    "sui_extra_data": {"date": "2025-01-25"},
    "sui_models": [
        {"name": "sd_xl_base_1.0.safetensors", "param": "model", "hash": "0xd7a9105a900fd52748f20"},
        {"name": "styles/paper.safetensors", "param": "loras", "hash": "0x0123456789abcdef"},
    ],
}
INVOKE = {
    "app_version": "5.6.0",
    "generation_mode": "sdxl_txt2img",
    "positive_prompt": "a cat++, (in snow)1.3, fog-",
    "negative_prompt": "blur",
    "width": 832,
    "height": 1216,
    "seed": 3047395937,
    "rand_device": "cpu",
    "cfg_scale": 6.0,
    "cfg_rescale_multiplier": 0.0,
    "steps": 28,
    "scheduler": "dpmpp_2m_k",
    "clip_skip": 1,
    "model": {
        "key": "0",
        "hash": "blake3:9a",
        "name": "Juggernaut XL v9",
        "base": "sdxl",
        "type": "main",
    },
    "loras": [{"model": {"name": "ink, old", "hash": "blake3:77"}, "weight": 0.6}],
}
INVOKE_2 = {
    "model": "stable diffusion",
    "model_weights": "stable-diffusion-1.5",
    "model_hash": "cc6cb27103417325ff94f52b7a5d2dde45a7515b25c255d8e396c90014281516",
    "app_id": "invoke-ai/InvokeAI",
    "app_version": "2.3.5",
    "image": {
        "prompt": [{"prompt": "a cat [fog, blur]", "weight": 1.0}],
        "steps": 50,
        "cfg_scale": 7.5,
        "height": 512,
        "width": 512,
        "seed": 42,
        "sampler": "k_euler_a",
        "type": "txt2img",
    },
}
NOVELAI = {
    "prompt": "ignored",
    "steps": 28,
    "height": 1216,
    "width": 832,
    "scale": 5.0,
    "cfg_rescale": 0.0,
    "seed": 2345678901,
    "n_samples": 1,
    "noise_schedule": "karras",
    "sampler": "k_euler_ancestral",
    "uc": "ignored",
    "v4_prompt": {
        "caption": {
            "base_caption": "{{1girl}}, (real) smile, 1.5::snow, ice::, [fog]",
            "char_captions": [{"char_caption": "red hair", "centers": [{"x": 0.5, "y": 0.5}]}],
        }
    },
    "v4_negative_prompt": {"caption": {"base_caption": "lowres", "char_captions": []}},
    "signed_hash": "abc",
}
DRAW_THINGS = {
    "c": PROMPT,
    "uc": "fog",
    "size": "512x768",
    "scale": 7.5,
    "seed": 17,
    "steps": 22,
    "sampler": "DPM++ 2M Karras",
    "model": "dream_8.ckpt",
    "lora": [{"model": "ink.ckpt", "weight": 0.6}],
    "strength": 1,
    "v2": {},
}
XMP = """<x:xmpmeta><rdf:RDF><rdf:Description><exif:UserComment><rdf:Alt>
<rdf:li xml:lang="x-default">%s</rdf:li></rdf:Alt></exif:UserComment></rdf:Description></rdf:RDF>"""


def draw_things() -> dict[str, str]:
    said = json.dumps(DRAW_THINGS, ensure_ascii=False).replace('"', "&quot;")
    return {"XML:com.adobe.xmp": XMP % said}


def novelai_texts() -> dict[str, str]:
    return {
        "Title": "NovelAI generated image",
        "Software": "NovelAI",
        "Source": "NovelAI Diffusion V4 37442FCA",
        "Description": "ignored",
        "Comment": json.dumps(NOVELAI),
    }


def read(texts: dict[str, str], size: tuple[int, int] | None = None) -> Info:
    return reading.read(texts, "cat.png", size)


@pytest.mark.parametrize("keyword", ["parameters", "UserComment", "Comment"])
def test_fooocus(keyword: str) -> None:
    info = read({keyword: json.dumps(FOOOCUS), "fooocus_scheme": "fooocus"})
    assert (info.program, info.prompt) == ("Fooocus", f"{PROMPT}, cinematic still")
    assert info.negative_prompt == "fog, unreal"
    assert info.given == {
        "seed": 7495612322837893,
        "steps": 30,
        "guidance": 4.0,
        "clip_skip": 2,
        "sampler": "dpmpp_2m_sde_gpu",
        "schedule": "karras",
        "width": 1152,
        "height": 896,
    }
    assert info.files == {
        "model": NamedFile(CHECKPOINT, "juggernautXL_v8Rundiffusion", "aeb7e9e689")
    }
    assert info.loras == (LoraUse("sd_xl_offset.safetensors", 0.1),)
    assert info.ignored == ("adm_guidance", "sharpness")


def test_swarmui() -> None:
    info = read({"parameters": json.dumps(SWARM, indent=4)})
    assert (info.program, info.conventions) == ("SwarmUI", "comfyui")
    assert (info.prompt, info.negative_prompt) == (PROMPT, "fog")
    assert info.loras == (LoraUse("styles/paper", 0.75), LoraUse("ink", 0.5))
    assert info.lora_hashes == {"styles/paper": "0x0123456789abcdef"}
    assert info.files["model"].hash == "0xd7a9105a900fd52748f20"
    expected = {"seed": 1451, "clip_skip": 2, "sampler": "dpmpp_2m", "schedule": "karras"}
    assert expected.items() <= info.given.items()
    assert info.ignored == ("zeronegative",)


def test_invokeai() -> None:
    info = read({"invokeai_metadata": json.dumps(INVOKE)})
    assert info.prompt == "a (cat:1.21), (in snow:1.3), (fog:0.9)"
    assert info.given == {
        "seed": 3047395937,
        "steps": 28,
        "guidance": 6.0,
        "width": 832,
        "height": 1216,
        "sampler": "dpmpp_2m",
        "schedule": "Karras",
        "clip_skip": 2,
    }
    assert info.files == {"model": NamedFile(CHECKPOINT, "Juggernaut XL v9", "blake3:9a")}
    assert info.loras == (LoraUse("ink, old", 0.6),)
    assert [note.code for note in info.notes] == ["info_other_noise"]
    assert info.ignored == ("cfg_rescale_multiplier",)


def test_invokeai_before_its_third_version() -> None:
    info = read({"sd-metadata": json.dumps(INVOKE_2)})
    assert (info.prompt, info.negative_prompt) == ("a cat", "fog, blur")
    assert info.given["sampler"] == "Euler a"
    assert info.files["model"].name == "stable-diffusion-1.5"
    info = read({"Dream": '"a "cat" [fog]" -s 50 -S 42 -W 512 -H 640 -C 7.5 -A k_euler_a'})
    assert (info.prompt, info.negative_prompt) == ('a "cat"', "fog")
    assert info.given == {
        "steps": 50,
        "seed": 42,
        "width": 512,
        "height": 640,
        "guidance": 7.5,
        "sampler": "Euler a",
    }


def test_novelai() -> None:
    info = read(novelai_texts())
    assert info.program == "NovelAI"
    assert info.prompt == (
        "((1girl:1.05):1.05), \\(real\\) smile, (snow, ice:1.5), (fog:0.9524), red hair"
    )
    assert info.negative_prompt == "lowres"
    assert info.given == {
        "seed": 2345678901,
        "steps": 28,
        "width": 832,
        "height": 1216,
        "guidance": 5.0,
        "sampler": "Euler a",
        "schedule": "Karras",
    }
    assert info.files["model"].name == "NovelAI Diffusion V4 37442FCA"


def test_draw_things() -> None:
    info = read(draw_things())
    assert (info.program, info.prompt, info.negative_prompt) == ("Draw Things", PROMPT, "fog")
    assert info.given == {
        "seed": 17,
        "steps": 22,
        "guidance": 7.5,
        "sampler": "DPM++ 2M Karras",
        "width": 512,
        "height": 768,
    }
    assert info.loras == (LoraUse("ink.ckpt", 0.6),)


def test_midjourney() -> None:
    text = "a cat -- in snow --ar 3:2 --no fog, rain --stylize 250 --v 6.1 --seed 7 Job ID: "
    info = read({"Description": text + "01234567-89ab-cdef-0123-456789abcdef"})
    assert (info.program, info.prompt) == ("Midjourney", "a cat -- in snow")
    assert info.negative_prompt == "fog, rain"
    assert info.given == {"aspect": "3:2", "seed": 7}
    assert info.ignored == ("--stylize", "--v")
    with pytest.raises(Refused):
        read({"Description": text.removesuffix("Job ID: ")})


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("a cat", "a cat"),
        ("cat+ dog--", "(cat:1.1) (dog:0.81)"),
        ("(a cat)0.5 (b)++", "(a cat:0.5) (b:1.21)"),
        ("well-known e-mail", "well-known e-mail"),
        ('("a", "b").blend(1, 1)', '("a", "b").blend(1, 1)'),
    ],
)
def test_invokeais_weights(written: str, expected: str) -> None:
    assert compel.as_a1111(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{a}, b", "(a:1.05), b"),
        ("[[a]]", "((a:0.9524):0.9524)"),
        ("{open, b", "open, b"),
        ("close}, b]", "close, b"),
        ("-1::hat::, b", "(hat:-1), b"),
        ("2::all the rest", "(all the rest:2)"),
        ("{" * 200 + "a", "a"),
    ],
)
def test_novelais_weights(written: str, expected: str) -> None:
    found = novelai.as_a1111(written)
    if written == "{open, b":
        found = found.replace("(", "").replace(")", "")
    assert found == expected


def sound() -> list[dict[str, str]]:
    return [
        {"parameters": json.dumps(FOOOCUS)},
        {"parameters": json.dumps(SWARM)},
        {"invokeai_metadata": json.dumps(INVOKE)},
        {"sd-metadata": json.dumps(INVOKE_2)},
        {"Dream": '"a cat" -s 50 -S 42'},
        novelai_texts(),
        draw_things(),
        {"Description": "a --ar 3:2 Job ID: 01234567-89ab-cdef-0123-456789abcdef"},
    ]


@pytest.mark.parametrize("count", CASES)
def test_whatever_a_programs_text_is_it_is_read_or_refused(count: int) -> None:
    chance = random.Random(count)
    odd: tuple[Any, ...] = (
        *(None, True, -1, 2**70, 1e308, float("nan"), float("inf"), [], {}, [[]], [1, 2, 3]),
        *({"name": "a", "model": {}}, "None", "1,2", *ANY),
    )
    read_ = 0
    for _ in range(count):
        texts = dict(chance.choice(sound()))
        keyword = chance.choice(list(texts))
        try:
            table = json.loads(texts[keyword])
        except ValueError:
            at = chance.randrange(len(texts[keyword]))
            texts[keyword] = texts[keyword][:at] + chance.choice(ANY) + texts[keyword][at:]
        else:
            holder = chance.choice(
                [table, *(v for v in table.values() if isinstance(v, dict) and v)]
            )
            for _ in range(chance.randint(1, 4)):
                holder[chance.choice(list(holder))] = chance.choice(odd)
            texts[keyword] = json.dumps(table)
        if chance.random() < 0.2:
            texts[chance.choice(KEYWORDS)] = chance.choice(ANY)
        try:
            info = read(texts, (512, 768))
        except Refused:
            continue
        read_ += 1
        assert len(info.prompt) <= 60_000
    assert read_ > count / 2
