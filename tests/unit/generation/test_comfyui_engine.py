"""The engine beside a recorded ComfyUI, over loopback."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from generation.comfyui import drawing, expressing
from generation.engines import EngineError, program
from generation.engines.comfyui import ComfyUIEngine
from generation.engines.fake import FakeEngine
from generation.engines.helper import Helper
from generation.messages import (
    ControlSeen,
    Describe,
    Described,
    EngineEvent,
    Enlarge,
    Failed,
    Finished,
    Generate,
    Picture,
    Preview,
    Progress,
    RuntimeSettings,
)
from generation.models import ModelKind
from generation.refusal import Refused
from generation.request import GenerationRequest, undrawn
from generation.request_parts import (
    ControlUse,
    Describing,
    Enlargement,
    LoraUse,
    Variation,
)
from generation.samplers import SAMPLERS, SCHEDULES
from tests.fixtures.comfyui import RecordedComfyUI, running
from tests.fixtures.requests import a_request
from tests.patience import PATIENCE
from tests.unit.generation.catalogs import a_model


@pytest.fixture
async def server() -> AsyncIterator[RecordedComfyUI]:
    files = {"CheckpointLoaderSimple": ["sd/dream.safetensors", "dream.safetensors"]}
    async with running(
        **files,
        LoraLoader=["ink.safetensors"],
        VAELoader=["clear.safetensors"],
        ControlNetLoader=["net.safetensors"],
    ) as found:
        yield found


@pytest.fixture
async def engine(server: RecordedComfyUI, tmp_path: Path) -> AsyncIterator[ComfyUIEngine]:
    found = ComfyUIEngine(server.address, cache=tmp_path, preview_every=0.001)
    yield found
    await found.stop()


def asked(**changes: Any) -> GenerationRequest:
    return a_request(**{"model": "dream", "conventions": "comfyui", **changes})


def work_of(tmp_path: Path, **changes: Any) -> Generate:
    def file(name: str, kind: ModelKind) -> Any:
        path = tmp_path / "sd" / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\0" * 8 + name.encode())
        return a_model(name, kind=kind, path=path)

    request = asked(**changes)
    given = {*request.uploads}
    return Generate(
        "1",
        request,
        file("dream", ModelKind.CHECKPOINT),
        tuple(file(use.name, ModelKind.LORA) for use in request.loras),
        vae=file(request.vae, ModelKind.VAE) if request.vae is not None else None,
        controlnets=tuple(file(use.name, ModelKind.CONTROLNET) for use in request.controls),
        pictures={
            sha256: picture(2 * request.width, request.height, int(sha256[:2], 16))
            for sha256 in given
        },
    )


def picture(width: int, height: int, red: int = 200) -> bytes:
    file = io.BytesIO()
    halves = Image.new("RGBA", (width, height), (red, 0, 0, 255))
    halves.paste((0, 0, 0, 0), (0, 0, width // 2, height))
    halves.save(file, "PNG")
    return file.getvalue()


async def events_of(engine: ComfyUIEngine, work: Any) -> list[EngineEvent]:
    async with asyncio.timeout(PATIENCE):
        return [event async for event in engine.generate(work)]


def failure(events: list[EngineEvent]) -> Failed:
    assert isinstance(events[-1], Failed), events[-1]
    return events[-1]


async def test_each_picture_is_a_graph_with_its_own_seed(
    engine: ComfyUIEngine, server: RecordedComfyUI, tmp_path: Path
) -> None:
    events = await events_of(engine, work_of(tmp_path, count=2, seed=41))
    made = [event for event in events if isinstance(event, Picture)]
    assert [(one.index, one.seed) for one in made] == [(0, 41), (1, 42)]
    assert made[0].pixels_sha256 != made[1].pixels_sha256
    shown = Image.open(io.BytesIO(made[0].file))
    assert shown.size == (128, 128)
    assert hashlib.sha256(shown.tobytes()).hexdigest() == made[0].pixels_sha256
    graph = server.graphs[1]
    assert graph["1"]["inputs"] == {"ckpt_name": "sd/dream.safetensors"}, "the longest that fits"
    (sampler,) = (n["inputs"] for n in graph.values() if n["class_type"] == "KSampler")
    told = {key: value for key, value in sampler.items() if not isinstance(value, list)}
    assert told == {
        "seed": 42,
        "steps": 4,
        "cfg": 3.5,
        "sampler_name": "dpmpp_2m",
        "scheduler": "normal",
        "denoise": 1.0,
    }
    steps = [e.step for e in events if isinstance(e, Progress) and e.stage == "denoising"]
    assert steps == sorted(steps)
    assert steps[-1] == 8
    assert any(isinstance(event, Preview) for event in events)
    ended = events[-1]
    assert isinstance(ended, Finished)
    assert ended.versions == {"comfyui": "0.3.64", "torch": "2.13.0+cpu"}
    assert ended.hashes["checkpoint:dream"] == made[0].hashes["checkpoint:dream"]
    assert len(ended.hashes["checkpoint:dream"]) == 64


async def test_a_start_picture_is_handed_over_at_the_size_that_is_drawn(
    engine: ComfyUIEngine, server: RecordedComfyUI, tmp_path: Path
) -> None:
    work = work_of(tmp_path, init_picture="ab" * 32, denoising_strength=0.4)
    assert isinstance((await events_of(engine, work))[-1], Finished)
    ((name, file),) = server.uploads.items()
    shown = Image.open(io.BytesIO(file))
    assert (shown.mode, shown.size) == ("RGB", (128, 128))
    assert shown.getpixel((0, 0)) == (255, 255, 255), "what is transparent lies on white"
    nodes = {n["class_type"]: n["inputs"] for n in server.graphs[0].values()}
    assert nodes["LoadImage"] == {"image": name}
    assert nodes["KSampler"]["denoise"] == 0.4
    assert "EmptyLatentImage" not in nodes


async def test_loras_vae_and_clip_skip_are_nodes_one_behind_the_other(
    engine: ComfyUIEngine, server: RecordedComfyUI, tmp_path: Path
) -> None:
    loras = (LoraUse("ink", 0.8), LoraUse("ink", 0.5, 0.0))
    work = work_of(tmp_path, loras=loras, vae="clear", clip_skip=2)
    ended = (await events_of(engine, work))[-1]
    assert isinstance(ended, Finished)
    assert {"lora:ink", "tensors:ink", "vae:clear"} <= ended.hashes.keys()
    graph = server.graphs[0]
    strengths = [
        (n["inputs"]["strength_model"], n["inputs"]["strength_clip"])
        for n in graph.values()
        if n["class_type"] == "LoraLoader"
    ]
    assert strengths == [(0.8, 0.8), (0.5, 0.0)]
    nodes = {n["class_type"]: (number, n["inputs"]) for number, n in graph.items()}
    last, inputs = nodes["LoraLoader"]
    assert nodes["KSampler"][1]["model"] == [last, 0]
    skipped, about = nodes["CLIPSetLastLayer"]
    assert about == {"clip": [last, 1], "stop_at_clip_layer": -2}
    assert nodes["CLIPTextEncode"][1]["clip"] == [skipped, 0]
    assert nodes["VAEDecode"][1]["vae"] == [nodes["VAELoader"][0], 0]
    assert graph[inputs["model"][0]]["class_type"] == "LoraLoader"


async def test_controlnets_steer_one_behind_the_other_and_what_they_see_is_told(
    engine: ComfyUIEngine, server: RecordedComfyUI, tmp_path: Path
) -> None:
    uses = ControlUse("net", "ab" * 32, 0.7), ControlUse("net", "cd" * 32)
    events = await events_of(engine, work_of(tmp_path, controls=uses))
    seen = [event for event in events if isinstance(event, ControlSeen)]
    assert [one.index for one in seen] == [0, 1]
    assert Image.open(io.BytesIO(seen[0].file)).size == (128, 128)
    graph = server.graphs[0]
    steering = {k: n["inputs"] for k, n in graph.items() if "ControlNetApply" in n["class_type"]}
    (first, one), (second, other) = steering.items()
    assert (one["strength"], other["strength"]) == (0.7, 1.0)
    assert (other["positive"], other["negative"]) == ([first, 0], [first, 1])
    (sampler,) = (n["inputs"] for n in graph.values() if n["class_type"] == "KSampler")
    assert (sampler["positive"], sampler["negative"]) == ([second, 0], [second, 1])
    shown = [graph[use["image"][0]]["inputs"]["image"] for use in (one, other)]
    assert [name in server.uploads for name in shown] == [True, True]
    assert shown[0] != shown[1]


async def test_its_pictures_and_control_pictures_go_through_the_picture_check(
    server: RecordedComfyUI, tmp_path: Path
) -> None:
    looks = FakeEngine(unsafe=(0.75,))
    helper = Helper(looks, RuntimeSettings(picture_check_model="a-classifier"))
    engine = ComfyUIEngine(server.address, cache=tmp_path, helper=helper)
    work = work_of(tmp_path, count=2, controls=(ControlUse("net", A_PICTURE),))
    events = await events_of(engine, work)
    seen = [event for event in events if isinstance(event, Picture | ControlSeen)]
    assert [one.unsafe for one in seen] == [0.75, 0.75, 0.75]
    # where the check does not work nothing is shown
    looks.failures = ["", "picture_check_broken"]
    events = await events_of(engine, work)
    assert failure(events).code == "picture_check_broken"
    assert not [event for event in events if isinstance(event, Picture)]
    await engine.stop()


async def test_where_nothing_can_check_pictures_that_are_to_be_checked_none_is_shown(
    engine: ComfyUIEngine, tmp_path: Path
) -> None:
    rater = a_model("wd", kind=ModelKind.TAGGER)
    work = msgspec.structs.replace(work_of(tmp_path), rater=rater)
    events = await events_of(engine, work)
    assert failure(events).code == "picture_check_broken"
    assert not [event for event in events if isinstance(event, Picture)]


async def test_a_comfyui_without_the_socket_node_is_asked_for_the_file(
    engine: ComfyUIEngine, server: RecordedComfyUI, tmp_path: Path
) -> None:
    usual = await events_of(engine, work_of(tmp_path))
    server.lacks = {"SaveImageWebsocket"}
    await engine.start()
    events = await events_of(engine, work_of(tmp_path))
    assert "PreviewImage" in {node["class_type"] for node in server.graphs[1].values()}
    one, other = (next(e for e in each if isinstance(e, Picture)) for each in (usual, events))
    assert one.pixels_sha256 == other.pixels_sha256


async def test_who_cancels_is_heard_at_the_next_step(
    engine: ComfyUIEngine, server: RecordedComfyUI, tmp_path: Path
) -> None:
    server.gate = asyncio.Event()
    found: list[EngineEvent] = []
    async with asyncio.timeout(PATIENCE):
        async for event in engine.generate(work_of(tmp_path)):
            found.append(event)
            if isinstance(event, Progress) and event.step == 1:
                await engine.cancel("another")
                await engine.cancel("1")
    assert failure(found).code == "cancelled"
    assert len(server.interrupted) == 1
    assert isinstance((await events_of(engine, work_of(tmp_path)))[-1], Finished)


async def test_it_is_left_when_nobody_asks_for_the_events_any_more(
    engine: ComfyUIEngine, server: RecordedComfyUI, tmp_path: Path
) -> None:
    server.gate = asyncio.Event()
    events = engine.generate(work_of(tmp_path))
    async for event in events:
        if isinstance(event, Progress) and event.step == 1:
            break
    await events.aclose()
    assert len(server.interrupted) == 1


async def test_it_draws_on_where_another_job_is_cancelled(
    engine: ComfyUIEngine, server: RecordedComfyUI, tmp_path: Path
) -> None:
    found: list[EngineEvent] = []
    async for event in engine.generate(work_of(tmp_path)):
        found.append(event)
        if isinstance(event, Progress) and event.step == 1:
            await engine.cancel("another")
    assert isinstance(found[-1], Finished)
    assert server.interrupted == []


@pytest.mark.parametrize(
    ("error", "code", "params"),
    [
        (
            {"exception_type": "torch.OutOfMemoryError", "exception_message": "Allocation"},
            "out_of_memory",
            {},
        ),
        (
            {"exception_type": "RuntimeError", "exception_message": "mat1 and\nmat2"},
            "comfyui_failed",
            {"node": "KSampler", "why": "mat1 and mat2"},
        ),
    ],
)
async def test_what_it_ends_with_is_said(
    engine: ComfyUIEngine,
    server: RecordedComfyUI,
    tmp_path: Path,
    error: dict[str, Any],
    code: str,
    params: dict[str, str],
) -> None:
    server.error = {**error, "traceback": ["line 1\n"]}
    failed = failure(await events_of(engine, work_of(tmp_path)))
    assert (failed.code, failed.params) == (code, params)
    assert "line 1" in failed.detail


async def test_nodes_and_files_that_it_lacks_are_named(
    engine: ComfyUIEngine, server: RecordedComfyUI, tmp_path: Path
) -> None:
    server.lacks = {"CLIPSetLastLayer"}
    failed = failure(await events_of(engine, work_of(tmp_path, clip_skip=2)))
    assert (failed.code, failed.params["node"]) == ("comfyui_node", "CLIPSetLastLayer")
    server.lacks = set()
    server.files["CheckpointLoaderSimple"] = ["other.safetensors"]
    failed = failure(await events_of(engine, work_of(tmp_path)))
    assert (failed.code, failed.params) == ("comfyui_file", {"file": "dream.safetensors"})


async def test_one_that_goes_away_is_a_fault_and_one_that_is_back_draws(
    engine: ComfyUIEngine,
    server: RecordedComfyUI,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(program, "AWAY_EVERY", 0.02)
    told: list[bool] = []
    engine.moved = lambda: told.append(engine.there)
    await engine.start()
    assert engine.there
    server.hangs_up = True
    assert failure(await events_of(engine, work_of(tmp_path))).code == "worker_died"
    port = server.port
    await server.end()
    with pytest.raises(EngineError, match="does not answer"):
        await engine.start()
    assert not engine.there
    assert failure(await events_of(engine, work_of(tmp_path))).code == "worker_died"
    await server.start(port)
    async with asyncio.timeout(PATIENCE):
        while not engine.there:
            await asyncio.sleep(0.01)
    assert isinstance((await events_of(engine, work_of(tmp_path)))[-1], Finished)
    assert told[0] is told[-1] is True
    assert False in told
    assert all(one is not other for one, other in pairwise(told)), "each change once"


async def test_what_it_loses_from_its_queue_is_a_fault(
    engine: ComfyUIEngine,
    server: RecordedComfyUI,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drawing, "LOOK_EVERY", 0.05)
    server.gate = asyncio.Event()
    under_way = asyncio.create_task(events_of(engine, work_of(tmp_path)))
    async with asyncio.timeout(PATIENCE):
        while not server.graphs:
            await asyncio.sleep(0.01)
    server._running = None
    assert failure(await under_way).code == "worker_died"


async def test_a_silent_one_is_given_up_on(
    server: RecordedComfyUI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "LOOK_EVERY", 0.05)
    engine = ComfyUIEngine(server.address, cache=tmp_path, hang_after=0.3)
    server.gate = asyncio.Event()
    assert failure(await events_of(engine, work_of(tmp_path))).code == "worker_hung"
    assert len(server.interrupted) == 1
    await engine.stop()


A_PICTURE = "ab" * 32
ENLARGED = Enlargement(
    picture=A_PICTURE, upscaler="Lanczos", width=128, height=128, from_width=64, from_height=64
)
MASKED: dict[str, Any] = {"init_picture": A_PICTURE, "mask": A_PICTURE}
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"conventions": "a1111"}, "comfyui_conventions", ""),
    ({"hires": "2", "hires_upscaler": "Latent (antialiased)"}, "comfyui_latents", ""),
    ({"hires": "2", "hires_tile": 64}, "comfyui_tiles", ""),
    ({"hires": "2", "hires_prompt": "a fox AND a hare"}, "comfyui_words", "AND"),
    ({"hires": "2", "hires_sampler": "Restart"}, "comfyui_sampler", "Restart"),
    ({"refiner": "other"}, "comfyui_cant", "refiner"),
    (
        {"init_picture": A_PICTURE, "mask_words": "hat", "mask_model": "clipseg"},
        "comfyui_cant",
        "mask_words",
    ),
    ({**MASKED, "masked_content": "latent noise"}, "comfyui_cant", "masked_content"),
    (
        {**MASKED, "masked_content": "latent nothing", "differential": "on"},
        "comfyui_cant",
        "differential",
    ),
    ({"controls": (ControlUse("net", A_PICTURE, mode="prompt"),)}, "comfyui_control", "mode"),
    (
        {"controls": (ControlUse("net", A_PICTURE, end=0.5),), "sampler": "Heun"},
        "comfyui_control_times",
        "Heun",
    ),
    (
        {"controls": (ControlUse("net", A_PICTURE, end=0.5),), "schedule": "Beta"},
        "comfyui_control_times",
        "",
    ),
    (
        {
            "init_picture": A_PICTURE,
            "enlargement": msgspec.structs.replace(ENLARGED, denoising_strength=0.3, tile=64),
        },
        "comfyui_tiles",
        "",
    ),
    ({"variation_seed": 1, "variation_strength": 0.5}, "comfyui_cant", "variation_seed"),
    ({"lineage": (Variation(1, 0.5),)}, "comfyui_cant", "lineage"),
    ({"sampler": "Restart"}, "comfyui_sampler", "Restart"),
    ({"schedule": "Align Your Steps"}, "comfyui_schedule", "Align Your Steps"),
    ({"prompt": "a fox AND a hare"}, "comfyui_words", "AND"),
    ({"prompt": "a fox BREAK a hare"}, "comfyui_words", "BREAK"),
    ({"negative_prompt": "[blurry::2]"}, "comfyui_words", "[from:to:when]"),
]


@pytest.mark.parametrize(("changes", "code", "named"), REFUSED)
def test_what_no_graph_says_is_refused_by_name(
    changes: dict[str, Any], code: str, named: str
) -> None:
    with pytest.raises(Refused) as refused:
        expressing.check(asked(**changes))
    assert refused.value.code == code
    assert not named or named in refused.value.params.values()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"refiner_switch": 0.5},
        {"variation_seed": 3},
        {"mask_blur": 9},
        {"format": "webp", "quality": 70},
        {"prompt": "a [red] fox, salt and pepper"},
        {"hires": "1.5", "hires_tile": 0},
        {**MASKED, "masked_content": "fill", "inpaint_area": "only masked"},
        {"faces": "all", "cutout": "auto"},
        {"controls": (ControlUse("net", A_PICTURE, preprocessor="canny", end=0.5),)},
    ],
)
def test_what_means_nothing_or_only_the_file_is_no_hindrance(changes: dict[str, Any]) -> None:
    expressing.check(asked(**changes))


async def test_every_sampler_and_schedule_that_is_let_through_is_known_there(
    engine: ComfyUIEngine,
) -> None:
    await engine.start()
    for sampler in SAMPLERS.keys() - expressing.LACKING:
        expressing.check(asked(sampler=sampler), engine.names)
    for schedule in (name for name, theirs in SCHEDULES.items() if theirs):
        expressing.check(asked(schedule=schedule), engine.names)


async def test_what_comfyui_has_no_part_in_a_process_of_ours_does(
    server: RecordedComfyUI, tmp_path: Path
) -> None:
    helps = FakeEngine(unsafe=(0.25,))
    engine = ComfyUIEngine(server.address, cache=tmp_path, helper=Helper(helps, RuntimeSettings()))
    larger = undrawn(enlargement=ENLARGED)
    described = undrawn(describing=Describing(A_PICTURE, 64, 64, tagger="one"))
    events = await events_of(engine, Enlarge("1", larger, None, {A_PICTURE: picture(64, 64)}))
    (made,) = (event for event in events if isinstance(event, Picture))
    assert (made.width, made.height, made.unsafe) == (128, 128, 0.25)
    tagger = a_model("one", kind=ModelKind.TAGGER)
    events = await events_of(engine, Describe("2", described, tagger, None, {}))
    assert any(isinstance(event, Described) for event in events)
    assert isinstance(events[-1], Finished)
    assert helps.began == ["1", "2"]
    assert server.graphs == []
    await engine.stop()


async def test_models_that_it_can_not_load_are_refused(tmp_path: Path) -> None:
    work = work_of(tmp_path)
    models: tuple[tuple[dict[str, Any], str], ...] = (
        ({"family": "flux"}, "comfyui_family"),
        ({"variant": "instruct-pix2pix"}, "comfyui_family"),
        ({"path": tmp_path / "dream"}, "comfyui_folder"),
    )
    for more, code in models:
        model = a_model("dream", **{"path": work.checkpoint.path, **more})
        with pytest.raises(Refused) as refused:
            expressing.check_work(Generate("1", work.request, model))
        assert refused.value.code == code
