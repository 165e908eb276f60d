"""ComfyUI's graphs, by what of them is read."""

import json
import random
import time
import tracemalloc
from typing import Any

import pytest

from generation.info import reading
from generation.info.comfyui.ui_format import WIDGETS
from generation.info.found import Info, NamedFile
from generation.models import ModelKind
from generation.refusal import Refused
from generation.request_parts import LoraUse
from tests.fixtures.fuzz import ANY, CASES
from tests.unit.generation.info.graphs import (
    LINKS,
    NODES,
    TEXT,
    Json,
    default,
    flux,
    node,
    ui,
    workflow,
    written,
)

CHECKPOINT = ModelKind.CHECKPOINT


def read(graph: Json, size: tuple[int, int] | None = None) -> Info:
    return reading.read(written(graph), "cat.png", size)


def codes(info: Info) -> list[str]:
    return [note.code for note in info.notes]


def test_the_default_workflow_is_read_whole() -> None:
    graph = default()
    assert read(graph) == Info(
        program="ComfyUI",
        prompt=TEXT,
        negative_prompt="fog, easynegative,",
        given={
            "seed": 156680208700286,
            "steps": 20,
            "sampler": "DPM++ 2M",
            "schedule": "Karras",
            "width": 512,
            "height": 768,
            "count": 2,
            "guidance": 8.0,
        },
        files={"model": NamedFile(CHECKPOINT, "SD1.5\\dream_8.safetensors")},
        embeddings=(NamedFile(ModelKind.EMBEDDING, "easynegative"),),
        conventions="comfyui",
        text=json.dumps(graph),
    )


def test_flux_is_sampled_by_nodes_of_its_own() -> None:
    info = read(flux())
    assert info.prompt == "a cat"
    assert info.given == {
        "seed": 219670278747233,
        "steps": 20,
        "sampler": "Euler",
        "schedule": "Simple",
        "width": 1024,
        "height": 1024,
        "distilled": 2.5,
    }
    assert info.files == {
        "model": NamedFile(CHECKPOINT, "flux1-dev.safetensors"),
        "vae": NamedFile(ModelKind.VAE, "ae.safetensors"),
    }
    assert info.loras == (LoraUse("ink.safetensors", 0.7, 0.0),)
    assert info.ignored == ("ModelSamplingFlux",)


def test_loras_act_where_their_chains_lead() -> None:
    one = node("LoraLoader", lora_name="a.safetensors", strength_model=0.5, strength_clip=0.5,
               model=["4", 0], clip=["4", 1])  # fmt: skip
    two = node("LoraLoader", lora_name="b.safetensors", strength_model=0.9, strength_clip=0.2,
               model=["10", 0], clip=["10", 1])  # fmt: skip
    layer = node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["11", 1])
    graph = default(**{"10": one, "11": two, "12": layer})
    graph["3"]["inputs"]["model"] = ["11", 0]
    graph["6"]["inputs"]["clip"] = ["12", 0]
    info = read(graph)
    assert info.loras == (LoraUse("a.safetensors", 0.5), LoraUse("b.safetensors", 0.9, 0.2))
    assert info.given["clip_skip"] == 2
    # beside the text encoder's chain it acts on the denoiser alone
    graph["6"]["inputs"]["clip"] = ["4", 1]
    assert read(graph).loras[0] == LoraUse("a.safetensors", 0.5, 0.0)


def test_values_come_through_other_nodes() -> None:
    graph = default(
        **{
            "20": node("PrimitiveInt", value=31),
            "21": node("Seed (rgthree)", seed=99),
            "22": node("StringConcatenate", string_a="a fox", string_b=["23", 0], delimiter=", "),
            "23": node("PrimitiveStringMultiline", value="in\nsnow"),
            "24": node("Reroute", **{"": ["4", 0]}),
            "25": node("ImpactSwitch", select=2, input1=["7", 0], input2=["6", 0]),
            "26": node("Any Switch (rgthree)", any_01=["5", 0]),
            "27": node("PrimitiveFloat", value=4.5),
        }
    )
    graph["3"]["inputs"] |= {
        "seed": ["21", 0],
        "steps": ["20", 0],
        "cfg": ["27", 0],
        "model": ["24", 0],
        "positive": ["25", 0],
        "latent_image": ["26", 0],
    }
    graph["6"]["inputs"]["text"] = ["22", 0]
    info = read(graph)
    assert info.prompt == "a fox, in\nsnow"
    expected = {"seed": 99, "steps": 31, "guidance": 4.5, "width": 512}
    assert expected.items() <= info.given.items()
    assert info.files["model"].name.endswith("dream_8.safetensors")


def second(**changes: Any) -> Json:
    inputs = default()["3"]["inputs"] | {"denoise": 0.5, "latent_image": ["10", 0]}
    return node("KSampler", **(inputs | changes))


def test_a_second_pass_over_enlarged_latents_is_a_hires_pass() -> None:
    way = node("LatentUpscale", upscale_method="nearest-exact", width=1024, height=1536,
               crop="disabled", samples=["3", 0])  # fmt: skip
    graph = default(**{"10": way, "11": second(steps=14, sampler_name="euler", cfg=5)})
    graph["8"]["inputs"]["samples"] = ["11", 0]
    info = read(graph)
    assert {
        "hires": "1024x1536",
        "hires_denoising": 0.5,
        "hires_upscaler": "Latent (nearest-exact)",
        "hires_steps": 14,
        "hires_guidance": 5.0,
        "hires_sampler": "Euler",
    }.items() <= info.given.items()
    assert (info.given["steps"], info.given["width"]) == (20, 512)
    assert codes(info) == []
    graph["10"] = node("LatentUpscaleBy", upscale_method="bislerp", scale_by=1.5, samples=["3", 0])
    graph["11"]["inputs"] |= {"seed": 5, "positive": ["12", 0]}
    graph["12"] = node("CLIPTextEncode", text="detailed", clip=["4", 1])
    info = read(graph)
    assert (info.given["hires"], info.given["hires_prompt"]) == ("1.5", "detailed")
    assert info.ignored == ("bislerp",)
    assert codes(info) == ["info_second_seed"]


@pytest.mark.parametrize(
    ("scaled", "size", "hires"),
    [
        ({}, None, "4"),
        ({"scale_by": 0.5}, None, "2"),
        ({"width": 1024, "height": 1536}, None, "1024x1536"),
    ],
)
def test_a_second_pass_over_a_picture_that_a_network_enlarged(
    scaled: Json, size: tuple[int, int] | None, hires: str
) -> None:
    graph = default(
        **{
            "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
            "12": node("UpscaleModelLoader", model_name="4x-UltraSharp.safetensors"),
            "13": node("ImageUpscaleWithModel", upscale_model=["12", 0], image=["8", 0]),
            "14": node("ImageScaleBy", upscale_method="lanczos", image=["13", 0], **scaled),
            "15": node("VAEEncode", pixels=["14" if scaled else "13", 0], vae=["4", 2]),
            "16": second(latent_image=["15", 0]),
            "17": node("VAEDecode", samples=["16", 0], vae=["4", 2]),
            "9": node("SaveImage", images=["17", 0]),
        }
    )
    info = read(graph, size)
    assert info.given["hires"] == hires
    assert info.files["hires_upscaler"] == NamedFile(
        ModelKind.UPSCALER, "4x-UltraSharp.safetensors"
    )


def test_the_output_that_the_file_is_of_is_told_by_its_size() -> None:
    way = node("LatentUpscaleBy", upscale_method="nearest-exact", scale_by=2, samples=["3", 0])
    graph = default(
        **{
            "10": way,
            "11": second(),
            "17": node("VAEDecode", samples=["11", 0], vae=["4", 2]),
            "18": node("SaveImage", images=["17", 0]),
        }
    )
    assert "hires" not in read(graph, (512, 768)).given
    assert read(graph, (1024, 1536)).given["hires"] == "2"


def test_a_refiner_draws_the_last_steps() -> None:
    inputs = default()["3"]["inputs"]
    del inputs["denoise"], inputs["seed"]
    base = node("KSamplerAdvanced", **inputs, noise_seed=5, add_noise="enable", start_at_step=0,
                end_at_step=16, return_with_leftover_noise="enable")  # fmt: skip
    over = {"model": ["20", 0], "positive": ["21", 0], "latent_image": ["3", 0]}
    refiner = node("KSamplerAdvanced", **(inputs | over), noise_seed=5, add_noise="disable",
                   start_at_step=16, end_at_step=10000)  # fmt: skip
    graph = default(
        **{
            "3": base,
            "19": refiner,
            "20": node("CheckpointLoaderSimple", ckpt_name="refiner.safetensors"),
            "21": node("CLIPTextEncodeSDXLRefiner", ascore=6, text="a cat", clip=["20", 1]),
        }
    )
    graph["8"]["inputs"]["samples"] = ["19", 0]
    info = read(graph)
    assert info.files["refiner"] == NamedFile(CHECKPOINT, "refiner.safetensors")
    assert info.given["refiner_switch"] == 0.8
    assert info.given["steps"] == 20


def test_what_needs_a_picture_is_told_as_left_out() -> None:
    graph = default(
        **{
            "5": node("VAEEncode", pixels=["20", 0], vae=["4", 2]),
            "20": node("LoadImage", image="cat.png"),
            "21": node("ControlNetLoader", control_net_name="canny.safetensors"),
            "22": node("ControlNetApplyAdvanced", strength=0.8, positive=["6", 0],
                       negative=["7", 0], control_net=["21", 0], image=["20", 0]),
        }
    )  # fmt: skip
    graph["3"]["inputs"] |= {"denoise": 0.6, "positive": ["22", 0], "negative": ["22", 1]}
    info = read(graph, (640, 512))
    assert codes(info) == ["info_start_picture", "info_control_picture"]
    assert info.beside == (NamedFile(ModelKind.CONTROLNET, "canny.safetensors"),)
    assert (info.given["width"], info.given["height"]) == (640, 512)
    assert (info.prompt, info.negative_prompt) == (TEXT, "fog, easynegative,")


def test_conditionings_of_several_texts_are_told() -> None:
    graph = default(
        **{
            "20": node("CLIPTextEncode", text="a dog", clip=["4", 1]),
            "21": node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["22", 0]),
            "22": node("ConditioningSetArea", conditioning=["20", 0], width=64, strength=1),
            "23": node("ConditioningZeroOut", conditioning=["6", 0]),
        }
    )
    graph["6"]["inputs"]["text"] = "a cat <lora:ink:1>"
    graph["3"]["inputs"] |= {"positive": ["21", 0], "negative": ["23", 0]}
    info = read(graph)
    assert (info.prompt, info.negative_prompt) == ("a cat, a dog", "")
    assert codes(info) == ["info_tags_unread", "info_joined_texts"]
    assert info.ignored == ("ConditioningSetArea",)


def test_nodes_of_common_packs() -> None:
    loader = node(
        "Efficient Loader", ckpt_name="dream.safetensors", vae_name="Baked VAE", clip_skip=-2,
        lora_name="a.safetensors", lora_model_strength=0.5, lora_clip_strength=0.25,
        positive="a cat", negative="fog", empty_latent_width=512, empty_latent_height=640,
        batch_size=1,
    )  # fmt: skip
    sampler = node(
        "KSampler (Efficient)", seed=5, steps=12, cfg=6, sampler_name="euler_ancestral",
        scheduler="normal", denoise=1, model=["1", 0], positive=["1", 1], negative=["1", 2],
        latent_image=["1", 3], optional_vae=["1", 4],
    )  # fmt: skip
    graph = {"1": loader, "2": sampler, "3": node("SaveImage", images=["2", 5])}
    info = read(graph)
    assert (info.prompt, info.negative_prompt) == ("a cat", "fog")
    assert info.loras == (LoraUse("a.safetensors", 0.5, 0.25),)
    assert info.files == {"model": NamedFile(CHECKPOINT, "dream.safetensors")}
    assert {"clip_skip": 2, "height": 640, "sampler": "Euler a"}.items() <= info.given.items()
    # rgthree's loader and contexts
    power = node("Power Lora Loader (rgthree)", model=["4", 0], clip=["4", 1],
                 lora_1={"on": True, "lora": "a.safetensors", "strength": 0.5},
                 lora_2={"on": False, "lora": "b.safetensors", "strength": 1})  # fmt: skip
    context = node("Context (rgthree)", model=["10", 0], positive=["6", 0])
    graph = default(**{"10": power, "11": context, "12": node("Context (rgthree)",
                    base_ctx=["11", 0])})  # fmt: skip
    graph["3"]["inputs"] |= {"model": ["12", 1], "positive": ["12", 4]}
    graph["6"]["inputs"]["clip"] = ["10", 1]
    info = read(graph)
    assert info.loras == (LoraUse("a.safetensors", 0.5),)
    assert info.prompt == TEXT


def test_the_editors_format_is_read_where_there_is_no_other() -> None:
    texts = workflow(NODES, LINKS)
    info = reading.read(texts, "cat.png")
    assert (info.prompt, info.negative_prompt, info.program) == ("a cat", "fog", "ComfyUI")
    assert info.given == {
        "seed": 7,
        "steps": 20,
        "sampler": "Euler",
        "schedule": "Normal",
        "width": 512,
        "height": 768,
        "guidance": 8.0,
    }
    assert info.files["model"].name == "dream_8.safetensors"
    # what was run goes before what was seen
    both = texts | written(default())
    assert reading.read(both, "cat.png").prompt == TEXT
    # and one node's infotext before both
    said = {"parameters": "a fox\nSteps: 3, Sampler: euler, Seed: 1, Size: 64x64"}
    found = reading.read(both | said, "cat.png")
    assert (found.prompt, found.program, found.conventions) == ("a fox", "ComfyUI", "comfyui")


def test_bypassed_nodes_hand_on_and_muted_ones_are_gone() -> None:
    values = ("a.safetensors", 0.5, 0.5)
    for mode, expected in ((0, (LoraUse("a.safetensors", 0.5),)), (4, ())):
        nodes = [*NODES, ui(10, "LoraLoader", values, mode=mode, model=10, clip=11)]
        links = [
            *(link for link in LINKS if link[0] not in (1, 3)),
            *([10, 4, 0, 10, 0, "MODEL"], [11, 4, 1, 10, 1, "CLIP"]),
            *([1, 10, 0, 3, 0, "MODEL"], [3, 10, 1, 6, 0, "CLIP"]),
        ]
        info = reading.read(workflow(nodes, links), "cat.png")
        assert info.loras == expected
        assert info.files["model"].name == "dream_8.safetensors"
    muted = [each | {"mode": 2} if each["id"] == 9 else each for each in NODES]
    with pytest.raises(Refused) as refused:
        reading.read(workflow(muted, LINKS), "cat.png")
    assert refused.value.code == "info_no_sampler"


def test_subgraphs_are_taken_apart() -> None:
    inner: Json = {
        "id": "3c7a9a8e-0001-4000-8000-000000000000",
        "nodes": [ui(1, "CLIPTextEncode", ("a cat inside",), clip=1)],
        "links": [
            {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 1, "target_slot": 0},
            {"id": 2, "origin_id": 1, "origin_slot": 0, "target_id": -20, "target_slot": 0},
        ],
    }
    nodes = [ui(6, inner["id"], (), clip=3) if each["id"] == 6 else each for each in NODES]
    info = reading.read(workflow(nodes, LINKS, definitions={"subgraphs": [inner]}), "cat.png")
    assert info.prompt == "a cat inside"
    # one within itself ends
    inner["nodes"] = [ui(1, inner["id"], (), clip=1)]
    with pytest.raises(Refused) as refused:
        reading.read(workflow(nodes, LINKS, definitions={"subgraphs": [inner]}), "cat.png")
    assert refused.value.code == "info_tangled"


def test_samplers_of_the_graphics_card_and_unknown_ones() -> None:
    graph = default()
    graph["3"]["inputs"] |= {"sampler_name": "dpmpp_2m_sde_gpu", "scheduler": "bong_tangent"}
    info = read(graph)
    assert (info.given["sampler"], info.given["schedule"]) == ("DPM++ 2M SDE", "bong_tangent")
    assert codes(info) == ["info_gpu_noise"]


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        ({"prompt": "{}"}, "info_no_sampler"),
        ({"prompt": json.dumps({"3": {}})}, "info_no_sampler"),
        (
            written({"1": node("LoadImage", image="a.png"),
                     "2": node("SaveImage", images=["1", 0])}),
            "info_no_sampler",
        ),
        ({"workflow": '{"nodes": []}'}, "info_no_sampler"),
        ({"prompt": "{" * 1000}, "data_damaged"),
        ({"prompt": '{"a":' + "[" * 100_000}, "data_damaged"),
        ({"prompt": '{"a": [' + "1," * 400_000 + "1]}"}, "data_too_long"),
        (written({str(n): node("x") for n in range(6000)}), "data_too_long"),
        ({"prompt": "a plain text"}, "data_none"),
    ],
    ids=range(9),
)  # fmt: skip
def test_what_draws_nothing_or_is_no_graph_is_said(texts: dict[str, str], code: str) -> None:
    with pytest.raises(Refused) as refused:
        reading.read(texts, "cat.png")
    assert refused.value.code == code
    assert refused.value.params["file"] == "cat.png"


def tangled(kind: str) -> Json:
    """Everything leads to everything."""
    match kind:
        case "latents":
            graph = default()
            graph["3"]["inputs"]["latent_image"] = ["3", 0]
        case "texts":
            graph = default(**{"20": node("StringConcatenate", string_a=["20", 0],
                            string_b=["20", 0])})  # fmt: skip
            graph["6"]["inputs"]["text"] = ["20", 0]
        case "conditionings":
            both = node("ConditioningCombine", conditioning_1=["20", 0], conditioning_2=["20", 0])
            graph = default(**{"20": both})
            graph["3"]["inputs"]["positive"] = ["20", 0]
        case "models":
            graph = default(**{"20": node("LoraLoader", lora_name="a", strength_model=1,
                            strength_clip=1, model=["20", 0], clip=["20", 1])})  # fmt: skip
            graph["3"]["inputs"]["model"] = ["20", 0]
        case "doubled":
            graph = default()
            for number in range(100, 160):
                ends = [str(number + 1), 0]
                graph[str(number)] = node("StringConcatenate", string_a=ends, string_b=ends)
            graph["6"]["inputs"]["text"] = ["100", 0]
        case _:
            graph = default(**{"20": node("Reroute", a=["20", 0])})
            graph["3"]["inputs"]["model"] = ["20", 0]
    return graph


@pytest.mark.parametrize(
    "kind", ["latents", "texts", "conditionings", "models", "doubled", "reroutes"]
)
def test_what_goes_in_circles_ends(kind: str) -> None:
    began = time.monotonic()
    tracemalloc.start()
    try:
        code = "read"
        try:
            read(tangled(kind))
        except Refused as refused:
            code = refused.code
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()
    assert code in ("read", "info_tangled")
    # a bound for machines that are busy with other things
    assert time.monotonic() - began < 30


def test_numbers_that_are_none_are_left_out() -> None:
    graph = default()
    graph["3"]["inputs"] |= {"steps": float("nan"), "cfg": float("inf"), "denoise": "x"}
    text = written(graph)["prompt"].replace("156680208700286", "1" * 4301)
    info = reading.read({"prompt": text}, "cat.png")
    assert not {"seed", "steps", "guidance"} & (info.given.keys() - {"guidance"})


@pytest.mark.parametrize("count", CASES)
def test_whatever_a_graph_is_made_of_it_is_read_or_refused(count: int) -> None:
    """Sound graphs of both formats, with anything in any place."""
    chance = random.Random(count)
    kinds = (*WIDGETS, "ImpactSwitch", "Reroute", "SaveImage", "VAEDecode", "x")
    sound: list[Any] = [default(), flux(), json.loads(workflow(NODES, LINKS)["workflow"])]

    def odd() -> Any:
        match chance.randrange(7):
            case 0:
                return [str(chance.randrange(30)), chance.randrange(4)]
            case 1:
                return chance.choice(ANY)
            case 2:
                return chance.choice((None, True, -1, 1e308, 2**70, [], {}, [[]], 0.5))
            case 3:
                return {"content": chance.choice(ANY), "lora": "a", "on": True}
            case 4:
                return chance.choice(kinds)
            case 5:
                return float(chance.choice(("nan", "inf", "-inf")))
            case _:
                return chance.randrange(12)

    def places(value: Any) -> list[tuple[Any, Any]]:
        if isinstance(value, dict | list):
            keys = list(value) if isinstance(value, dict) else range(len(value))
            return [(value, key) for key in keys] + [
                place for key in keys for place in places(value[key])
            ]
        return []

    read_, began = 0, time.monotonic()
    for _ in range(count):
        table = json.loads(json.dumps(chance.choice(sound)))
        for _ in range(chance.randint(1, 6)):
            holder, key = chance.choice(places(table))
            holder[key] = odd()
        keyword = "workflow" if "nodes" in table else "prompt"
        try:
            reading.read({keyword: json.dumps(table)}, "cat.png", (512, 768))
        except Refused:
            continue
        read_ += 1
    assert read_ > count / 4
    assert time.monotonic() - began < count
