"""The engine beside a webui that was written down, over loopback."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from generation.engines import EngineError, program
from generation.engines.webui import WebuiEngine
from generation.messages import (
    ControlSeen,
    EngineEvent,
    Enlarge,
    Failed,
    Finished,
    Finishing,
    Generate,
    Picture,
    Preview,
    Progress,
)
from generation.models import ModelKind
from generation.refusal import Refused
from generation.request import undrawn
from generation.request_parts import (
    ControlUse,
    Describing,
    Enlargement,
    Extension,
    Faces,
    LoraUse,
    Variation,
)
from generation.webui import drawing, expressing
from generation.webui.names import TheirFile, WebuiNames
from generation.webui.server import WebuiServer
from tests.fixtures.requests import a_request
from tests.fixtures.webui import RecordedWebui, running
from tests.patience import PATIENCE
from tests.unit.generation.catalogs import a_model
from tests.unit.generation.test_program_answers import bomb

FOLDERS = {
    ModelKind.CHECKPOINT: "Stable-diffusion",
    ModelKind.LORA: "Lora",
    ModelKind.VAE: "VAE",
    ModelKind.CONTROLNET: "ControlNet",
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "LOOK_EVERY", 0.02)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RecordedWebui]:
    def at(kind: ModelKind, *names: str) -> list[str]:
        return [f"{tmp_path}/{FOLDERS[kind]}/{name}.safetensors" for name in names]

    async with running(
        checkpoint=[
            "/srv/other/dream.safetensors",
            *at(ModelKind.CHECKPOINT, "dream", "finer"),
        ],
        lora=at(ModelKind.LORA, "ink"),
        vae=at(ModelKind.VAE, "clear"),
        controlnet=at(ModelKind.CONTROLNET, "net"),
        upscaler=["/srv/models/ESRGAN/4x-Sharp.pth"],
    ) as found:
        found.controlnet = True
        yield found


@pytest.fixture
async def engine(server: RecordedWebui, tmp_path: Path) -> AsyncIterator[WebuiEngine]:
    found = WebuiEngine(server.address, cache=tmp_path, preview_every=0.001)
    yield found
    await found.stop()


def work_of(tmp_path: Path, **changes: Any) -> Generate:
    def file(name: str, kind: ModelKind) -> Any:
        path = tmp_path / FOLDERS[kind] / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\0" * 8 + name.encode())
        return a_model(name, kind=kind, path=path)

    request = a_request(**{"model": "dream", **changes})
    return Generate(
        "1",
        request,
        file("dream", ModelKind.CHECKPOINT),
        tuple(file(use.name, ModelKind.LORA) for use in request.loras),
        vae=file(request.vae, ModelKind.VAE) if request.vae is not None else None,
        controlnets=tuple(file(use.name, ModelKind.CONTROLNET) for use in request.controls),
        refiner=file(request.refiner, ModelKind.CHECKPOINT) if request.refiner else None,
        pictures=dict.fromkeys(request.uploads, picture(2 * request.width, request.height)),
    )


def picture(width: int, height: int) -> bytes:
    file = io.BytesIO()
    halves = Image.new("RGBA", (width, height), (200, 0, 0, 255))
    halves.paste((0, 0, 0, 0), (0, 0, width // 2, height))
    halves.save(file, "PNG")
    return file.getvalue()


def shown(encoded: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(encoded)))


async def events_of(engine: WebuiEngine, work: Any) -> list[EngineEvent]:
    async with asyncio.timeout(PATIENCE):
        return [event async for event in engine.generate(work)]


def failure(events: list[EngineEvent]) -> Failed:
    assert isinstance(events[-1], Failed), events[-1]
    return events[-1]


def told(server: RecordedWebui, index: int = 0) -> dict[str, Any]:
    return server.asked[index][1]


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


async def test_each_picture_is_a_call_with_its_own_seed(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path
) -> None:
    before = dict(server.options)
    events = await events_of(engine, work_of(tmp_path, count=2, seed=41, clip_skip=2))
    made = [event for event in events if isinstance(event, Picture)]
    assert [(one.index, one.seed) for one in made] == [(0, 41), (1, 42)]
    assert made[0].pixels_sha256 != made[1].pixels_sha256
    assert [told(server, n)["seed"] for n in (0, 1)] == [41, 42]
    said = told(server)
    names = ("sampler_name", "scheduler", "steps", "cfg_scale", "batch_size", "subseed_strength")
    assert [said[name] for name in names] == ["DPM++ 2M", "Uniform", 4, 3.5, 1, 0.0]
    assert not said["save_images"], "nothing is kept on its disk"
    assert said["override_settings_restore_afterwards"]
    assert server.had[0]["sd_model_checkpoint"] == "dream.safetensors"
    assert server.had[0]["randn_source"] == "CPU", "the same noise on every card"
    assert server.had[0]["CLIP_stop_at_last_layers"] == 2
    assert server.had[0]["sd_vae"] == "None", "the checkpoint's own"
    assert server.options == before
    steps = [e.step for e in events if isinstance(e, Progress)]
    assert steps == sorted(steps)
    assert max(steps) > 4
    assert any(isinstance(event, Preview) for event in events)
    ended = events[-1]
    assert isinstance(ended, Finished)
    assert ended.versions == {"webui": "v1.10.1"}
    assert len(ended.hashes["checkpoint:dream"]) == 64


@pytest.mark.parametrize("preview", [bomb(2**13 + 1), b"<html>"], ids=["bomb", "page"])
async def test_a_preview_that_is_none_is_left_out(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path, preview: bytes
) -> None:
    server.preview = preview
    events = await events_of(engine, work_of(tmp_path, steps=4))
    assert not any(isinstance(event, Preview) for event in events)
    assert isinstance(events[-1], Finished)


async def test_variations_share_a_seed_and_have_a_second_each(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path
) -> None:
    work = work_of(tmp_path, count=2, variation_seed=9, variation_strength=0.25)
    events = await events_of(engine, work)
    assert [e.variation_seed for e in events if isinstance(e, Picture)] == [9, 10]
    each = [told(server, n) for n in (0, 1)]
    assert [(one["seed"], one["subseed"], one["subseed_strength"]) for one in each] == [
        (7, 9, 0.25),
        (7, 10, 0.25),
    ]


async def test_loras_are_tags_behind_the_prompt_and_the_vae_is_a_setting(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path
) -> None:
    loras = (LoraUse("ink", 0.8), LoraUse("ink", 0.5, 0.0))
    work = work_of(tmp_path, prompt="a (red:1.3) fox", loras=loras, vae="clear")
    ended = (await events_of(engine, work))[-1]
    assert isinstance(ended, Finished)
    assert {"lora:ink", "tensors:ink", "vae:clear"} <= ended.hashes.keys()
    assert told(server)["prompt"] == "a (red:1.3) fox<lora:ink:0.8><lora:ink:0:0.5>"
    assert server.had[0]["sd_vae"] == "clear.safetensors"


async def test_a_start_picture_and_its_mask_are_handed_over_as_they_are_drawn(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path
) -> None:
    masked = {"mask": "cd" * 32, "mask_blur": 7, "masked_content": "latent noise"}
    work = work_of(tmp_path, init_picture="ab" * 32, denoising_strength=0.4, **masked)
    assert isinstance((await events_of(engine, work))[-1], Finished)
    kind, said = server.asked[0]
    assert kind == "img2img"
    (start,) = map(shown, said["init_images"])
    assert (start.mode, start.size) == ("RGB", (128, 128))
    assert start.getpixel((0, 0)) == (255, 255, 255), "what is transparent lies on white"
    mask = shown(said["mask"])
    assert (mask.mode, mask.size) == ("L", (128, 128))
    names = ("denoising_strength", "mask_blur", "inpainting_fill", "inpaint_full_res")
    assert [said[name] for name in names] == [0.4, 7, 2, False]
    assert said["inpainting_mask_invert"] == 0


async def test_where_only_what_is_masked_is_drawn_the_whole_picture_is_handed_over(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path
) -> None:
    masked = {"mask": "cd" * 32, "inpaint_area": "only masked", "mask_padding": 12}
    work = work_of(tmp_path, init_picture="ab" * 32, mask_mode="not masked", **masked)
    events = await events_of(engine, work)
    (made,) = [event for event in events if isinstance(event, Picture)]
    assert (made.width, made.height) == (256, 128)
    said = told(server)
    assert shown(said["init_images"][0]).size == shown(said["mask"]).size == (256, 128)
    assert (said["inpaint_full_res"], said["inpaint_full_res_padding"]) == (True, 12)
    assert said["inpainting_mask_invert"] == 1


async def test_a_hires_pass_is_the_webuis_own(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path
) -> None:
    changes = {"hires": "1.5", "hires_upscaler": "Latent (bicubic)", "hires_denoising": 0.55}
    changes |= {"hires_steps": 3, "hires_sampler": "Euler", "hires_prompt": "a hare"}
    work = work_of(tmp_path, loras=(LoraUse("ink", 0.8),), **changes)
    events = await events_of(engine, work)
    (made,) = [event for event in events if isinstance(event, Picture)]
    assert (made.width, made.height) == (192, 192)
    said = told(server)
    hires = {name: value for name, value in said.items() if name.startswith(("hr_", "enable"))}
    assert hires == {
        "enable_hr": True,
        "hr_scale": 1.5,
        "hr_resize_x": 0,
        "hr_resize_y": 0,
        "hr_upscaler": "Latent (bicubic)",
        "hr_second_pass_steps": 3,
        "hr_sampler_name": "Euler",
        "hr_scheduler": "Uniform",
        "hr_prompt": "a hare<lora:ink:0.8>",
        "hr_negative_prompt": "",
    }
    assert said["denoising_strength"] == 0.55
    progress = [event for event in events if isinstance(event, Progress)]
    assert progress[0].steps == 4
    assert {"hires"} <= {event.stage for event in progress}
    assert max(event.step for event in progress if event.stage == "hires") > 4


async def test_what_enlarges_and_a_size_are_told_by_their_names(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path
) -> None:
    work = work_of(tmp_path, hires="0x192", hires_upscaler="4x-Sharp")
    path = tmp_path / "ESRGAN" / "4x-Sharp.pth"
    upscaler = a_model("4x-Sharp", kind=ModelKind.UPSCALER, path=path)
    drawn = Generate("1", work.request, work.checkpoint, upscaler=upscaler)
    async with asyncio.timeout(PATIENCE):
        async for _ in engine.generate(drawn):
            pass
    said = told(server)
    assert (said["hr_upscaler"], said["hr_resize_x"], said["hr_resize_y"]) == ("4x-Sharp", 0, 192)


async def test_a_refiner_and_faces_are_told(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path
) -> None:
    work = work_of(tmp_path, refiner="finer", refiner_switch=0.7, faces="all", face_fidelity=0.2)
    restorer = a_model("cf", kind=ModelKind.FACE_RESTORER, variant="CodeFormer")
    finishing = Finishing(faces=Faces(), restorer=restorer)
    work = Generate("1", work.request, work.checkpoint, refiner=work.refiner, finishing=finishing)
    assert isinstance((await events_of(engine, work))[-1], Finished)
    said = told(server)
    assert (said["refiner_checkpoint"], said["refiner_switch_at"]) == ("finer.safetensors", 0.7)
    assert said["restore_faces"]
    assert server.had[0]["face_restoration_model"] == "CodeFormer"
    assert server.had[0]["code_former_weight"] == 0.2


class Helper:
    """A process that does what it is asked: control pictures are white, and finished ones too."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def _white(self, size: tuple[int, int]) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", size, "white").save(file, "PNG")
        return file.getvalue()

    async def control_picture(
        self, job: str, use: ControlUse, png: bytes, size: tuple[int, int], annotators: Any
    ) -> bytes:
        self.asked.append((job, use.preprocessor, size))
        return self._white(size)

    async def finished(
        self, job: str, png: bytes, size: tuple[int, int], wanted: Finishing
    ) -> tuple[bytes, bool]:
        self.asked.append((job, wanted, size))
        return self._white(size), True

    async def unsafe(self, *_: Any) -> None:
        return None

    async def cancel(self, job: str) -> None:
        pass


async def test_controlnets_are_units_of_the_extension_and_their_pictures_made_here(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path
) -> None:
    helper = Helper()
    engine._helper = helper  # type: ignore[assignment]
    uses = (
        ControlUse("net", "ab" * 32, 0.7, end=0.5, mode="control"),
        ControlUse("net", "cd" * 32, preprocessor="canny", automatic=True),
    )
    events = await events_of(engine, work_of(tmp_path, controls=uses))
    assert isinstance(events[-1], Finished)
    seen = [event for event in events if isinstance(event, ControlSeen)]
    assert [(one.index, one.width, one.height) for one in seen] == [(0, 128, 128), (1, 128, 128)]
    assert helper.asked == [("1", "canny", (128, 128))]
    first, second = told(server)["alwayson_scripts"]["controlnet"]["args"]
    assert shown(first.pop("image")).getpixel((127, 0)) == (200, 0, 0)
    assert shown(second.pop("image")).getpixel((127, 0)) == (255, 255, 255)
    assert first == {
        "enabled": True,
        "module": "none",
        "model": "net [d14c016b]",
        "weight": 0.7,
        "resize_mode": "Crop and Resize",
        "guidance_start": 0.0,
        "guidance_end": 0.5,
        "control_mode": "ControlNet is more important",
    }
    assert second["module"] == "none"


async def test_where_only_what_is_masked_is_drawn_the_extension_cuts_out_of_the_whole(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path
) -> None:
    masked = {"init_picture": "ab" * 32, "mask": "cd" * 32, "inpaint_area": "only masked"}
    work = work_of(tmp_path, controls=(ControlUse("net", "ef" * 32),), **masked)
    assert isinstance((await events_of(engine, work))[-1], Finished)
    (unit,) = told(server)["alwayson_scripts"]["controlnet"]["args"]
    assert shown(unit["image"]).size == (256, 128)


async def test_what_the_webui_does_not_finish_is_finished_here(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path
) -> None:
    helper = Helper()
    engine._helper = helper  # type: ignore[assignment]
    gfpgan = a_model("g", kind=ModelKind.FACE_RESTORER, variant="GFPGAN")
    former = a_model("c", kind=ModelKind.FACE_RESTORER, variant="CodeFormer")
    remover = a_model("r", kind=ModelKind.BACKGROUND_REMOVER)
    cases: tuple[tuple[dict[str, Any], Finishing, str], ...] = (
        ({"faces": "all"}, Finishing(faces=Faces(), restorer=gfpgan), "faces"),
        ({"faces": "largest"}, Finishing(faces=Faces(), restorer=former), "faces"),
        (
            {"faces": "all", "face_strength": 0.5},
            Finishing(faces=Faces(), restorer=former),
            "faces",
        ),
        (
            {"faces": "all", "cutout": "auto"},
            Finishing(faces=Faces(), restorer=former, remover=remover),
            "cutout",
        ),
    )
    for number, (changes, finishing, left) in enumerate(cases):
        plain = work_of(tmp_path, **changes)
        work = Generate("1", plain.request, plain.checkpoint, finishing=finishing)
        ended = (await events_of(engine, work))[-1]
        assert isinstance(ended, Finished), ended
        assert ended.faceless == (0,)
        _, wanted, _ = helper.asked[-1]
        assert told(server, number)["restore_faces"] is (left == "cutout"), changes
        assert (wanted.faces is None) is (left == "cutout")
        assert (wanted.remover is None) is (left == "faces")


async def test_forge_takes_a_vae_as_a_module_and_a_second_guidance(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path
) -> None:
    server.forge = True
    server.options["forge_additional_modules"] = ["/srv/t5.safetensors"]
    del server.options["sd_vae_decode_method"]
    work = work_of(tmp_path, vae="clear", hires="2", hires_guidance=2.0)
    ended = (await events_of(engine, work))[-1]
    assert isinstance(ended, Finished), ended
    assert ended.versions == {"forge": "v1.10.1"}
    assert server.had[0]["forge_additional_modules"] == [f"{tmp_path}/VAE/clear.safetensors"]
    assert told(server)["hr_cfg"] == 2.0
    assert "sd_vae_decode_method" not in told(server)["override_settings"], "it breaks at those"
    assert isinstance((await events_of(engine, work_of(tmp_path, hires="2")))[-1], Finished)
    assert told(server, 1)["hr_cfg"] == 3.5, "its own usual one would be 1"
    assert server.had[1]["forge_additional_modules"] == []


async def test_an_older_one_has_one_name_for_sampler_and_schedule() -> None:
    names = WebuiNames(
        forge=False,
        tells=True,
        samplers=frozenset(("Euler", "DPM++ 2M Karras")),
        schedulers=frozenset(),
        upscalers=frozenset(),
        face_restorers=frozenset(),
        files={},
        scripts=frozenset(),
        options={},
    )
    for changes, theirs in (
        ({"sampler": "DPM++ 2M", "schedule": "Karras"}, "DPM++ 2M Karras"),
        ({"sampler": "Euler", "schedule": "Uniform"}, "Euler"),
    ):
        asked = a_request(**changes)
        assert expressing.theirs(asked, names) == (theirs, "")
        expressing.check(asked, names)


@pytest.mark.parametrize("page", [True, False])
async def test_who_cancels_is_heard_at_the_next_step(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path, page: bool
) -> None:
    server.page, server.gate = page, asyncio.Event()
    found: list[EngineEvent] = []
    async with asyncio.timeout(PATIENCE):
        async for event in engine.generate(work_of(tmp_path)):
            found.append(event)
            if isinstance(event, Progress) and event.step == 1:
                await engine.cancel("another")
                assert not server.interrupted
                await engine.cancel("1")
    assert failure(found).code == "cancelled"
    await until(lambda: server.interrupted and not server.state["job"])
    assert server.interrupted == 1
    assert isinstance((await events_of(engine, work_of(tmp_path)))[-1], Finished)


async def test_it_is_told_to_stop_once_and_not_within_the_last_step(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path
) -> None:
    """What it is at when it hears that late may be somebody else's."""
    server.slow = True
    for steps, times in ((4, 1), (1, 0)):
        server.gate, server.interrupted = asyncio.Event(), 0
        under_way = asyncio.create_task(events_of(engine, work_of(tmp_path, steps=steps)))
        await until(lambda: server.state["job"] and server.state["sampling_step"] == 1)
        await engine.cancel("1")
        assert failure(await under_way).code == "cancelled"
        await asyncio.sleep(0.3)
        assert server.interrupted == times
        server.gate.set()
        await until(lambda: not server.state["job"])


async def test_it_is_left_when_nobody_asks_for_the_events_any_more(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path
) -> None:
    server.gate = asyncio.Event()
    events = engine.generate(work_of(tmp_path))
    async for event in events:
        if isinstance(event, Progress) and event.step == 1:
            break
    await events.aclose()
    await until(lambda: server.interrupted)


@pytest.mark.parametrize("page", [True, False])
async def test_what_others_have_drawn_there_is_never_stopped(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path, page: bool
) -> None:
    server.page = page
    async with server.others():
        under_way = asyncio.create_task(events_of(engine, work_of(tmp_path)))
        await until(lambda: server.asked)
        await engine.cancel("1")
        assert failure(await under_way).code == "cancelled"
        await asyncio.sleep(0.2)
        assert not server.interrupted
        assert not server.state["interrupted"]
    await until(lambda: server.had and not server.state["job"])
    assert bool(server.interrupted) is page, "its own is stopped as soon as it begins"


async def test_what_waits_behind_others_has_no_progress_and_is_not_given_up_on(
    server: RecordedWebui, tmp_path: Path
) -> None:
    engine = WebuiEngine(server.address, cache=tmp_path, hang_after=0.05)
    async with server.others():
        under_way = asyncio.create_task(events_of(engine, work_of(tmp_path)))
        await until(lambda: server.asked)
        await asyncio.sleep(0.6)
        assert not under_way.done()
    found = await under_way
    assert isinstance(found[-1], Finished)
    assert all(event.steps == 4 for event in found if isinstance(event, Progress))
    await engine.stop()


async def test_a_picture_that_somebody_stopped_there_is_none(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path
) -> None:
    server.gate = asyncio.Event()
    under_way = asyncio.create_task(events_of(engine, work_of(tmp_path)))
    await until(lambda: server.state["sampling_step"] == 1)
    server.state["interrupted"] = True
    server.gate.set()
    events = await under_way
    assert failure(events).code == "webui_interrupted"
    assert not any(isinstance(event, Picture) for event in events)


@pytest.mark.parametrize(
    ("status", "said", "code", "why"),
    [
        (500, {"error": "OutOfMemoryError", "errors": "CUDA out of memory."}, "out_of_memory", ""),
        (500, {"error": "RuntimeError", "message": "CUDA out of memory."}, "out_of_memory", ""),
        (
            500,
            {"error": "NansException", "errors": "A tensor with all NaNs was produced in Unet."},
            "webui_nan",
            "",
        ),
        (500, {"error": "RuntimeError", "errors": "mat1 and\nmat2"}, "webui_failed", "mat1 and"),
        (
            422,
            {"detail": [{"loc": ["body", "steps"], "msg": "value is not a valid integer"}]},
            "webui_failed",
            "steps: value is not a valid integer",
        ),
        (404, {"detail": "Not Found"}, "webui_api_gone", ""),
    ],
)
async def test_what_it_ends_with_is_said(
    engine: WebuiEngine,
    server: RecordedWebui,
    tmp_path: Path,
    status: int,
    said: dict[str, Any],
    code: str,
    why: str,
) -> None:
    server.error = (status, said)
    failed = failure(await events_of(engine, work_of(tmp_path)))
    assert failed.code == code
    assert why in failed.params.get("why", "")


async def test_a_black_picture_is_said_to_be_none(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path
) -> None:
    server.black = True
    assert failure(await events_of(engine, work_of(tmp_path))).code == "webui_nan"


async def test_a_lora_that_it_has_lost_meanwhile_makes_no_picture(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path
) -> None:
    server.gate = asyncio.Event()
    work = work_of(tmp_path, loras=(LoraUse("ink", 0.8),))
    under_way = asyncio.create_task(events_of(engine, work))
    await until(lambda: server.asked)
    server.files["lora"] = []
    server.gate.set()
    failed = failure(await under_way)
    assert (failed.code, failed.params) == ("webui_otherwise", {"what": "LoRA ink.safetensors"})


async def test_files_that_it_lacks_are_named_with_their_folder(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path
) -> None:
    server.files["lora"] = []
    failed = failure(await events_of(engine, work_of(tmp_path, loras=(LoraUse("ink", 1.0),))))
    assert failed.code == "webui_file"
    assert failed.params == {"file": "ink.safetensors", "folder": "models/Lora"}


async def test_it_is_had_look_for_a_file_that_it_lacked_once_it_draws_nothing(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path
) -> None:
    server.come["lora"], server.files["lora"] = server.files["lora"], []
    work = work_of(tmp_path, loras=(LoraUse("ink", 0.8),))
    assert failure(await events_of(engine, work)).code == "webui_file"
    async with server.others():
        await engine.start()
        assert server.come, "that would wait for what is drawn"
    assert isinstance((await events_of(engine, work))[-1], Finished)


async def test_one_that_goes_away_is_a_fault_and_one_that_is_back_draws(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "AWAY_EVERY", 0.02)
    await engine.start()
    assert engine.there
    server.hangs_up = True
    assert failure(await events_of(engine, work_of(tmp_path))).code == "worker_died"
    port = server.port
    await server.end()
    with pytest.raises(EngineError, match="does not answer"):
        await engine.start()
    assert not engine.there
    await server.start(port)
    await until(lambda: engine.there)
    assert isinstance((await events_of(engine, work_of(tmp_path)))[-1], Finished)


async def test_one_that_lacks_its_api_or_wants_a_password_says_so(
    server: RecordedWebui, tmp_path: Path
) -> None:
    async def why(address: str, auth: str = "") -> tuple[str, str]:
        engine = WebuiEngine(address, cache=tmp_path, auth=auth)
        with pytest.raises(EngineError) as error:
            await engine.start()
        await engine.stop()
        assert "secret" not in str(error.value)
        assert "secret" not in engine.address
        assert error.value.failure is not None
        return error.value.failure.code, error.value.failure.params["address"]

    server.api = False
    assert await why(server.address) == ("webui_no_api", server.address)
    server.api, server.auth = True, "ada:s:secret"
    assert await why(server.address) == ("webui_password", server.address)
    assert (await why(server.address, "ada:secret"))[0] == "webui_password"
    inside = server.address.replace("//", "//bo:secret@")
    assert await why(inside, "ada:s:secret") == ("webui_password", server.address)
    for address, auth in (
        (server.address, "ada:s:secret"),
        (server.address.replace("//", "//ada:s%3Asecret@"), ""),
    ):
        engine = WebuiEngine(address, cache=tmp_path, auth=auth)
        assert (await engine.start()).memory_total == 8 * 2**30
        await engine.stop()


async def test_a_silent_one_is_given_up_on(server: RecordedWebui, tmp_path: Path) -> None:
    engine = WebuiEngine(server.address, cache=tmp_path, hang_after=0.3)
    server.gate = asyncio.Event()
    assert failure(await events_of(engine, work_of(tmp_path))).code == "worker_hung"
    await until(lambda: server.interrupted)
    await engine.stop()


A_PICTURE = "ab" * 32
ENLARGED = Enlargement(
    picture=A_PICTURE, upscaler="Lanczos", width=128, height=128, from_width=64, from_height=64
)
AGAIN = msgspec.structs.replace(ENLARGED, denoising_strength=0.3)
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"conventions": "comfyui"}, "webui_conventions", ""),
    ({"hires": "2", "init_picture": A_PICTURE}, "webui_cant", "hires"),
    ({"hires": "2", "hires_tile": 64}, "webui_cant", "hires_tile"),
    ({"enlargement": AGAIN, "init_picture": A_PICTURE}, "webui_only_draws", ""),
    (
        {"mask": A_PICTURE, "init_picture": A_PICTURE, "differential": "on"},
        "webui_cant",
        "differential",
    ),
    ({"mask_words": "the hat", "init_picture": A_PICTURE}, "webui_cant", "mask_words"),
    (
        {"init_picture": A_PICTURE, "extension": Extension(64, 64, left=64)},
        "webui_cant",
        "extension",
    ),
    ({"controls": (ControlUse("net", A_PICTURE, kind="depth"),)}, "webui_control", "kind"),
    (
        {
            "controls": (ControlUse("net", A_PICTURE, preprocessor="canny"),),
            "inpaint_area": "only masked",
        },
        "webui_control",
        "pre",
    ),
    ({"lineage": (Variation(1, 0.5),)}, "webui_cant", "lineage"),
    ({"prompt": "a fox <hypernet:x:1>"}, "webui_words", "<hypernet:x:1>"),
    ({"hires": "2", "hires_prompt": "a <lora:b:1>"}, "webui_words", "<lora:b:1>"),
]


@pytest.mark.parametrize(("changes", "code", "named"), REFUSED)
def test_what_the_api_does_not_say_is_refused_by_name(
    changes: dict[str, Any], code: str, named: str
) -> None:
    with pytest.raises(Refused) as refused:
        expressing.check(a_request(**changes))
    assert refused.value.code == code
    assert not named or named in refused.value.params.values()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"prompt": "a fox AND a hare :1.2 BREAK [red:blue:0.5] (x:1.1)"},
        {"variation_seed": 3},
        {"mask_blur": 9},
        {"format": "webp", "quality": 70},
    ],
)
def test_a1111s_own_words_and_what_means_nothing_are_no_hindrance(changes: dict[str, Any]) -> None:
    expressing.check(a_request(**changes))


async def test_what_this_one_lacks_is_refused_with_what_it_has(
    engine: WebuiEngine, server: RecordedWebui, tmp_path: Path
) -> None:
    await engine.start()
    for changes, code, named in (
        ({"sampler": "TCD"}, "webui_sampler", "DPM++ 2M, "),
        ({"schedule": "Linear Quadratic"}, "webui_schedule", "Karras"),
        ({"hires": "2", "hires_sampler": "TCD"}, "webui_sampler", "TCD"),
        ({"hires": "2", "hires_upscaler": "Latent (nearest)"}, "", ""),
        ({"hires": "2", "hires_upscaler": "Unknown"}, "webui_upscaler", "Latent"),
        ({"hires": "2", "hires_guidance": 2.0}, "webui_cant", "hires_guidance"),
    ):
        work = work_of(tmp_path, **changes)
        if not code:
            engine.check_work(work)
            continue
        with pytest.raises(Refused) as refused:
            engine.check_work(work)
        assert refused.value.code == code
        assert named in " ".join(map(str, refused.value.params.values()))
    server.controlnet = False
    server.options["samples_format"] = "jpg"
    await engine.start()
    with pytest.raises(Refused) as refused:
        engine.check(a_request())
    assert (refused.value.code, refused.value.params) == ("webui_format", {"format": "jpg"})
    server.options["samples_format"] = "png"
    await engine.start()
    with pytest.raises(Refused) as refused:
        engine.check(a_request(controls=(ControlUse("net", A_PICTURE),)))
    assert refused.value.code == "webui_no_controlnet"


def test_what_a_process_of_our_own_does_is_no_hindrance() -> None:
    larger = Enlarge("1", undrawn(enlargement=ENLARGED), None, {A_PICTURE: picture(64, 64)})
    expressing.check_work(larger)
    expressing.check(undrawn(describing=Describing(A_PICTURE, 64, 64, tagger="one")))


def test_models_that_it_can_not_load_are_refused(tmp_path: Path) -> None:
    work = work_of(tmp_path)
    models: tuple[tuple[dict[str, Any], str], ...] = (
        ({"family": "flux"}, "webui_family"),
        ({"variant": "instruct-pix2pix"}, "webui_family"),
        ({"path": tmp_path / "dream"}, "webui_folder"),
    )
    for more, code in models:
        model = a_model("dream", **{"path": work.checkpoint.path, **more})
        with pytest.raises(Refused) as refused:
            expressing.check_work(Generate("1", work.request, model))
        assert refused.value.code == code


@pytest.mark.parametrize(
    ("theirs", "chosen"),
    [
        ([], ""),
        (["/srv/else.safetensors"], ""),
        (["/srv/dream.safetensors", "/x/sd/dream.safetensors"], "1"),
        ([r"C:\webui\models\SD\Dream.safetensors"], "0"),
        (["/srv/sd/dream.ckpt"], ""),
    ],
)
def test_a_file_is_the_one_whose_path_ends_most_like_its_own(
    theirs: list[str], chosen: str, tmp_path: Path
) -> None:
    files = tuple(TheirFile(str(number), path) for number, path in enumerate(theirs))
    names = WebuiNames(
        forge=False,
        tells=True,
        samplers=frozenset(),
        schedulers=frozenset(),
        upscalers=frozenset(),
        face_restorers=frozenset(),
        files={ModelKind.CHECKPOINT: files},
        scripts=frozenset(),
        options={},
    )
    model = a_model("dream", path=tmp_path / "sd" / "dream.safetensors")
    if chosen:
        assert names.of(model).name == chosen
    else:
        with pytest.raises(Refused, match="webui_file"):
            names.of(model)


def test_a_password_is_no_part_of_its_address() -> None:
    assert WebuiServer("http://ada:secret@host:7860/sub/").address == "http://host:7860/sub"
