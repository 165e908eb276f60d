"""The real worker process on tiny models: what it draws, and what it answers when it can't."""

import asyncio
import contextlib
import hashlib
import io
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from generation.catalog import Catalog
from generation.engines import process
from generation.engines.process import ProcessEngine
from generation.messages import (
    Configure,
    Failed,
    Finished,
    FromRuntime,
    Generate,
    JobEvent,
    Picture,
    Preview,
    Progress,
    Ready,
    RuntimeSettings,
    frame,
)
from generation.models import ModelFile, ModelKind
from generation.runtime.pipe import End
from generation.samplers import SAMPLERS
from tests.fixtures import models
from tests.integration.runtime.bench import SHIPPED, TOLERANCE, Bench, difference, small, upload

SETTINGS = RuntimeSettings(preview_every=0.001, cpu_threads=1, models_kept=3)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    tiny = models.tiny_stable_diffusion(root / "diffusers" / "tiny")
    models.tiny_stable_diffusion(root / "diffusers" / "tiny-v", 1, "v_prediction")
    models.poison_weights(tiny)
    models.tiny_controlnet(root / "controlnet" / "edges", tiny)
    (root / "loras").mkdir()
    models.tiny_lora(root / "loras" / "pixel.safetensors", tiny)
    models.tiny_lora(root / "loras" / "peft.safetensors", tiny, layout="peft")
    models.tiny_lora(root / "loras" / "words.safetensors", tiny, text=True)
    models.tiny_lora(root / "loras" / "words-peft.safetensors", tiny, layout="peft", text=True)
    models.tiny_lora(root / "loras" / "misfit.safetensors", tiny, width=12)
    elsewhere = {"lora_unet_mid_block_attentions_9_proj_in": (8, 8)}
    models.write_lora(root / "loras" / "elsewhere.safetensors", elsewhere)
    return root


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bench(folder: Path) -> AsyncIterator[Bench]:
    catalog = Catalog([folder, SHIPPED])
    await catalog.scan()
    assert catalog.problems == ()
    engine = ProcessEngine(SETTINGS, cache=folder / "cache")
    yield Bench(engine, catalog, folder)
    await engine.stop()


@pytest.mark.slow
async def test_a_job_reports_its_way_and_its_pictures(bench: Bench) -> None:
    made = await bench.make(count=2)
    stages = [event.stage for event in made.progress]
    assert stages == sorted(stages, key=["loading", "encoding", "denoising", "decoding"].index)
    assert [event.step for event in made.progress] == sorted(event.step for event in made.progress)
    assert {event.steps for event in made.progress} == {6}
    assert [(picture.index, picture.seed) for picture in made.pictures] == [(0, 7), (1, 8)]
    for index, picture in enumerate(made.pictures):
        image = made.image(index)
        assert image.size == (picture.width, picture.height) == (64, 64)
        assert hashlib.sha256(image.tobytes()).hexdigest() == picture.pixels_sha256
    assert made.finished is not None
    assert made.finished.hashes.keys() == {"checkpoint:tiny"}
    assert made.pictures[0].hashes == made.finished.hashes
    with Image.open(io.BytesIO(made.previews[0].jpeg)) as preview:
        assert preview.width == 2 * preview.height


@pytest.mark.slow
async def test_a_seed_is_a_picture(bench: Bench) -> None:
    batch = await bench.make(seed=7, count=2)
    again = await bench.make(seed=7, count=2)
    alone = await bench.make(seed=8)
    assert batch.pixels == again.pixels
    assert batch.pixels[0] != batch.pixels[1]
    assert difference(batch.image(1), alone.image()) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("model", ["tiny", "tiny-v"])
@pytest.mark.parametrize("sampler", SAMPLERS)
async def test_every_sampler_draws(bench: Bench, sampler: str, model: str) -> None:
    first = await bench.make(model, sampler=sampler, steps=4, count=2)
    assert first.failed is None
    assert len(set(first.pixels)) == 2
    assert (await bench.make(model, sampler=sampler, steps=4, count=2)).pixels == first.pixels


async def test_a_prompt_of_any_length_counts_to_its_end(bench: Bench) -> None:
    long = "a cat, " * 60
    ends_in_dog, ends_in_fox = [
        (await bench.make(prompt=long + last, guidance_scale=7)).pixels for last in ("dog", "fox")
    ]
    assert ends_in_dog != ends_in_fox


async def test_negative_prompt_guidance_and_clip_skip_matter(bench: Bench) -> None:
    plain = await bench.make()
    for change in ({"negative_prompt": "fog"}, {"guidance_scale": 9}, {"clip_skip": 2}):
        assert (await bench.make(**change)).pixels != plain.pixels, change


async def test_a_start_picture_shows_through(bench: Bench) -> None:
    red, pictures = upload("red", (90, 50))
    weak, strong = [
        await bench.make(init_picture=red, pictures=pictures, denoising_strength=strength, steps=8)
        for strength in (0.2, 1.0)
    ]
    assert weak.failed is None
    assert weak.image().size == (64, 64)
    assert weak.pixels != strong.pixels
    assert weak.progress[-1].step == strong.progress[-1].step == 8
    untouched = await bench.make(init_picture=red, pictures=pictures, denoising_strength=0, seed=1)
    assert untouched.pictures[0].seed == 1
    other_seed = await bench.make(init_picture=red, pictures=pictures, denoising_strength=0, seed=2)
    assert untouched.pixels == other_seed.pixels
    assert difference(untouched.image(), weak.image()) < difference(
        untouched.image(), strong.image()
    )


async def test_a_start_picture_is_cropped_at_its_centre_not_squeezed(bench: Bench) -> None:
    file = io.BytesIO()
    wide = Image.new("RGB", (192, 64), "blue")
    wide.paste("red", (64, 0, 128, 64))
    wide.save(file, "PNG")
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    same, red = {sha256: file.getvalue()}, upload("red")
    cropped = await bench.make(init_picture=sha256, pictures=same, denoising_strength=0.3)
    plain = await bench.make(init_picture=red[0], pictures=red[1], denoising_strength=0.3)
    # the resampling filter reaches a pixel over the border
    middle = (16, 16, 48, 48)
    assert difference(cropped.image().crop(middle), plain.image().crop(middle)) <= 16


async def test_a_file_that_is_no_picture(bench: Bench) -> None:
    sha256 = hashlib.sha256(b"GIF").hexdigest()
    made = await bench.make(init_picture=sha256, pictures={sha256: b"GIF"})
    assert made.failed is not None
    assert made.failed.code == "picture_unreadable"


async def test_a_lora_acts_by_its_weight_and_leaves_no_trace(bench: Bench) -> None:
    before = await bench.make()
    full, half, none = [
        await bench.make(loras=[{"name": "pixel", "weight": weight}]) for weight in (1, 0.5, 0)
    ]
    assert len({before.pixels[0], full.pixels[0], half.pixels[0]}) == 3
    assert difference(none.image(), before.image()) <= TOLERANCE
    assert (await bench.make()).pixels == before.pixels
    assert full.finished is not None
    file = next(file.path for file in bench.catalog.loras if file.name == "pixel")
    content = file.read_bytes()
    weights = content[8 + int.from_bytes(content[:8], "little") :]
    assert full.finished.hashes["lora:pixel"] == hashlib.sha256(content).hexdigest()
    assert full.finished.hashes["tensors:pixel"] == hashlib.sha256(weights).hexdigest()


async def test_weights_act_and_a_weight_of_one_is_the_plain_prompt(bench: Bench) -> None:
    plain, one, strong = [
        await bench.make(prompt=prompt)
        for prompt in ("a slice of pizza", "(a slice of pizza:1.0)", "a slice of (pizza:1.6)")
    ]
    assert one.pixels == plain.pixels
    assert strong.pixels != plain.pixels


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["words", "words-peft", "peft"])
async def test_loras_of_every_layout_act_and_go(bench: Bench, layout: str) -> None:
    before = await bench.make()
    made = await bench.make(loras=[{"name": layout}])
    assert made.failed is None, made.failed
    assert difference(made.image(), before.image()) > TOLERANCE
    assert (await bench.make()).pixels == before.pixels


@pytest.mark.slow
async def test_layouts_of_one_lora_draw_the_same(bench: Bench) -> None:
    for kohya, peft in (("pixel", "peft"), ("words", "words-peft")):
        one, other = [await bench.make(loras=[{"name": name}]) for name in (kohya, peft)]
        assert one.pixels == other.pixels


@pytest.mark.slow
async def test_several_loras_add_up(bench: Bench) -> None:
    both = [{"name": "pixel", "weight": 0.4}, {"name": "words", "weight": 0.6}]
    made = [(await bench.make(loras=loras)).pixels[0] for loras in (both, both[:1], both[1:])]
    assert len(set(made)) == 3
    assert (await bench.make(loras=both)).pixels == made[:1]
    # the same LoRA twice at half its weight is once at its whole weight
    halves, whole = [{"name": "pixel", "weight": 0.5}] * 2, [{"name": "pixel"}]
    one, other = [await bench.make(loras=loras) for loras in (halves, whole)]
    assert difference(one.image(), other.image()) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("name", ["misfit", "elsewhere"])
async def test_a_lora_for_another_model_is_named(bench: Bench, name: str) -> None:
    before = await bench.make()
    made = await bench.make(loras=[{"name": "pixel"}, {"name": name}])
    assert made.failed is not None
    assert (made.failed.code, made.failed.params) == ("lora_mismatch", {"name": name})
    assert (await bench.make()).pixels == before.pixels


@pytest.mark.slow
async def test_a_controlnet_follows_its_picture_by_its_scale(bench: Bench) -> None:
    found = []
    for colour, scale in (("black", 1.0), ("white", 1.0), ("white", 0.5)):
        sha256, pictures = upload(colour)
        control = {"name": "edges", "picture": sha256, "scale": scale}
        made = await bench.make(controls=[control], pictures=pictures)
        assert made.failed is None, made.failed
        found.append(made.pixels[0])
    assert len(set(found)) == 3


@pytest.mark.slow
async def test_controlnet_start_picture_and_lora_together(bench: Bench) -> None:
    sha256, pictures = upload("green")
    made = await bench.make(
        controls=[{"name": "edges", "picture": sha256}, {"name": "edges", "picture": sha256}],
        init_picture=sha256,
        loras=[{"name": "pixel", "weight": 0.3}],
        pictures=pictures,
        count=2,
    )
    assert made.failed is None
    assert len(made.pictures) == 2


async def test_cancelling_stops_at_the_next_step(bench: Bench) -> None:
    made = await bench.make(steps=100, cancel_at=2)
    assert made.failed is not None
    assert made.failed.code == "cancelled"
    assert made.progress[-1].step < 50
    assert (await bench.make()).failed is None


@pytest.mark.slow
async def test_who_stops_listening_stops_the_job(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[FromRuntime] = []
    receive = process._Child.receive

    async def overheard(child: Any, seconds: float) -> FromRuntime:
        said.append(await receive(child, seconds))
        return said[-1]

    monkeypatch.setattr(process._Child, "receive", overheard)
    work = bench.work("unheard", small(model="tiny", steps=150, count=10), {})
    async with contextlib.aclosing(bench.engine.generate(work)) as events:
        async for event in events:
            if isinstance(event, Progress) and event.stage == "denoising":
                break
    assert (await bench.make()).failed is None
    ends = [message for message in said if isinstance(message, Failed | Finished)]
    assert [(end.job, getattr(end, "code", "")) for end in ends[:1]] == [("unheard", "cancelled")]
    # the same name once more: what was said of the first job does not stop the second
    work = bench.work("unheard", small(model="tiny"), {})
    again = [event async for event in bench.engine.generate(work)]
    assert isinstance(again[-1], Finished)


@pytest.mark.slow
async def test_one_that_is_handed_ahead_is_drawn_as_if_it_were_alone(bench: Bench) -> None:
    alone = await bench.make(seed=11, model="tiny-v")
    requests = {"ahead-1": small(model="tiny"), "ahead-2": small(model="tiny-v", seed=11)}
    first, second = (bench.work(job, request, {}) for job, request in requests.items())
    found: list[JobEvent] = []
    async for event in bench.engine.generate(first):
        if not found:
            assert bench.engine.hand_ahead(second)
        found.append(event)
    assert {event.job for event in found} == {"ahead-1"}
    assert isinstance(found[-1], Finished)
    found = [event async for event in bench.engine.generate(second)]
    assert {event.job for event in found} == {"ahead-2"}
    assert {type(event) for event in found} == {Progress, Preview, Picture, Finished}
    assert [event.pixels_sha256 for event in found if isinstance(event, Picture)] == alone.pixels


@pytest.mark.slow
async def test_one_that_is_taken_back_before_its_turn_is_never_begun(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[FromRuntime] = []
    receive = process._Child.receive

    async def overheard(child: Any, seconds: float) -> FromRuntime:
        said.append(await receive(child, seconds))
        return said[-1]

    monkeypatch.setattr(process._Child, "receive", overheard)
    first = bench.work("before", small(model="tiny", steps=20), {})
    handed = False
    async for _ in bench.engine.generate(first):
        if not handed:
            handed = True
            assert bench.engine.hand_ahead(bench.work("unwanted", small(model="tiny"), {}))
            bench.engine.withdraw("unwanted")
    assert (await bench.make()).failed is None
    of_it = [event for event in said if not isinstance(event, Ready) and event.job == "unwanted"]
    assert [getattr(event, "code", type(event)) for event in of_it] == ["cancelled"]


@pytest.mark.slow
async def test_a_model_that_was_replaced_is_read_anew(bench: Bench) -> None:
    folder = bench.folder / "diffusers" / "changing"
    shutil.copytree(bench.folder / "diffusers" / "tiny", folder)
    await bench.catalog.scan()
    before = await bench.make("changing")
    assert before.pixels == (await bench.make()).pixels
    shutil.rmtree(folder)
    models.tiny_stable_diffusion(folder, seed=5)
    await bench.catalog.scan()
    after = await bench.make("changing")
    assert after.pixels != before.pixels
    assert after.finished is not None
    assert before.finished is not None
    assert after.finished.hashes != before.finished.hashes
    shutil.rmtree(folder)
    await bench.catalog.scan()


@pytest.mark.slow
async def test_a_lora_cut_off_is_named(bench: Bench) -> None:
    file = bench.folder / "loras" / "cut.safetensors"
    shutil.copy(bench.folder / "loras" / "pixel.safetensors", file)
    await bench.catalog.scan()
    file.write_bytes(file.read_bytes()[:-100])
    made = await bench.make(loras=[{"name": "cut"}])
    file.unlink()
    assert made.failed is not None
    assert (made.failed.code, made.failed.params["file"]) == ("model_broken", "cut.safetensors")


@pytest.mark.slow
async def test_a_model_that_gives_nan_is_named(bench: Bench) -> None:
    made = await bench.make("tiny-unet-nan")
    assert made.failed is not None
    assert (made.failed.code, made.failed.params) == (
        "nan_weights",
        {"file": "tiny-unet-nan", "part": "UNet"},
    )
    assert made.pictures == []


@pytest.mark.slow
async def test_a_file_cut_off_after_the_catalogue_saw_it(bench: Bench) -> None:
    """The catalogue leaves broken files out; this one breaks later."""
    whole = bench.folder / "diffusers" / "tiny"
    later = bench.folder / "diffusers" / "later"
    shutil.copytree(whole, later)
    await bench.catalog.scan()
    file = next((later / "unet").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-100])
    made = await bench.make("later")
    assert made.failed is not None
    assert made.failed.code == "model_broken"
    assert made.failed.params["file"] == f"later/unet/{file.name}"
    assert "bytes are missing" in made.failed.params["why"]
    assert (await bench.make()).failed is None
    shutil.rmtree(later)
    await bench.catalog.scan()


async def test_what_is_shipped_draws(bench: Bench) -> None:
    demo = bench.catalog.get(ModelKind.CHECKPOINT, "demo")
    assert (demo.family, demo.native_size) == ("sd1", 128)
    size = {"width": 128, "height": 128}
    plain = await bench.make("demo", **size)
    assert plain.failed is None
    assert plain.image().size == (128, 128)
    assert (await bench.make("demo", **size)).pixels == plain.pixels
    for lora in of_shipped(bench.catalog.loras):
        made = await bench.make("demo", loras=[{"name": lora.name}], **size)
        assert made.failed is None
        assert made.pixels != plain.pixels, lora.name
    for net in of_shipped(bench.catalog.controlnets):
        sha256, pictures = upload("white", (128, 128))
        controls = [{"name": net.name, "picture": sha256}]
        made = await bench.make("demo", controls=controls, pictures=pictures, **size)
        assert made.failed is None
        assert made.pixels != plain.pixels, net.name


def of_shipped(models: list[ModelFile]) -> list[ModelFile]:
    return [model for model in models if model.path.is_relative_to(SHIPPED)]


@pytest.mark.slow
async def test_a_worker_whose_parent_is_gone_ends_in_the_middle_of_a_job(
    folder: Path, tmp_path: Path
) -> None:
    """Nothing else would end it: it would go on using the graphics card."""
    catalog = Catalog([folder])
    await catalog.scan()
    request = small(model="tiny", steps=150, count=10)
    work = Generate("1", request, catalog.get(ModelKind.CHECKPOINT, "tiny"))
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "generation.runtime"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(frame(Configure(SETTINGS, tmp_path / "cache")) + frame(work))
    output = b""
    while b"denoising" not in output:
        output += await child.stdout.read(1000)
    child.stdin.close()
    output += (await child.communicate())[0]
    # on a busy machine its time may be up before the job has seen that it is to stop
    assert child.returncode == End.ALONE
    assert b"\xa8Finished" not in output  # msgpack of the tag; the traceback names the class
