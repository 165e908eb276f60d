"""A picture of anybody's, drawn after by an IP-Adapter from its message's menu."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from bot.config import Config
from bot.interactions import picture_dialogs
from generation.job import JobState
from generation.preset import Preset
from playground.person import Person
from tests.acceptance.conftest import Rig, finished, png
from tests.fixtures import headers
from tests.patience import PATIENCE
from tests.unit.generation.test_catalog import write


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    """With an IP-Adapter for the demo model, as wide as it is, and what it sees by."""
    folder = tmp_path / "models"
    tensors = {
        "image_proj.proj.weight": (768, 1024),
        "image_proj.norm.weight": (192,),
        "ip_adapter.1.to_k_ip.weight": (64, 192),
    }
    write(folder / "ipadapter" / "ip-adapter_sd15.safetensors", tensors)
    replace = msgspec.structs.replace
    return replace(config, models=replace(config.models, folders=(folder,)))


FLUX = {
    "diffusion_models/flux1-dev.safetensors": "flux-alone",
    "text_encoders/clip_l.safetensors": "clip-l",
    "text_encoders/t5xxl.safetensors": "t5xxl-fp8",
    "vae/ae.safetensors": "vae-ae",
    "xlabs/ipadapters/ip_adapter.safetensors": "ip-adapter-flux",
}


def write_eyes(folder: Path) -> None:
    write(
        folder / "clip_vision" / "CLIP-ViT-H-14.safetensors",
        {
            "vision_model.embeddings.class_embedding": (1280,),
            "visual_projection.weight": (1024, 1280),
        },
    )


@pytest.mark.parametrize(
    ("menu", "weight"), [("Use as style", 1.0), ("Use as face or subject", 0.7)]
)
async def test_any_picture_is_drawn_after(
    rig: Rig,
    ada: Person,
    bo: Person,
    general: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    menu: str,
    weight: float,
) -> None:
    posted = await ada.say_with_file(general, "sketch.png", png("blue", (90, 60)))
    monkeypatch.setattr(picture_dialogs, "FETCHED_WITHIN", PATIENCE)
    act = await bo.use_on_message(menu, posted)
    said = (await act.response())["content"]
    assert "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors into the folder clip_vision" in said
    write_eyes(tmp_path / "models")
    await rig.studio.catalog.scan()
    act = await bo.use_on_message(menu, posted)
    modal = await act.modal()
    assert modal["components"]
    sent = await act.submit(
        prompt="a castle", ip_adapter=["ip-adapter_sd15"], image_weight=f"{weight:g}"
    )
    done = await finished(bo, general, await sent.deferred())
    [prompt] = (await rig.job(1)).request.image_prompts
    assert (prompt.name, prompt.weight, prompt.kind) == ("ip-adapter_sd15", weight, "whole")
    assert (await rig.studio.jobs.read_upload(prompt.pictures[0])).startswith(b"\x89PNG")
    shown = {field["name"]: field["value"] for field in done["embeds"][0]["fields"]}
    assert shown["IP-Adapter"] == f"ip-adapter\\_sd15 × {weight:g}"


async def test_it_is_replayed_rerolled_and_begun_anew_after_a_crash(
    rig: Rig, ada: Person, general: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_eyes(tmp_path / "models")
    await rig.studio.catalog.scan()
    monkeypatch.setattr(picture_dialogs, "FETCHED_WITHIN", PATIENCE)
    posted = await ada.say_with_file(general, "sketch.png", png("blue", (90, 60)))
    act = await ada.use_on_message("Use as style", posted)
    rig.engine.gate = asyncio.Event()
    sent = await act.submit(
        prompt="a castle --seed 5 --hires 1.5", ip_adapter=["ip-adapter_sd15"], image_weight="0.8"
    )
    message = await sent.deferred()
    await rig.until(lambda job: job.state is JobState.RUNNING)
    # the crash is in the middle: it is begun anew, with its picture, and delivered once
    await rig.restart()
    shown = await finished(ada, general, message)
    job = await rig.job(1)
    assert job.request.hires == "1.5"
    [prompt] = job.request.image_prompts
    again = await (await ada.command(general, "replay", job=1)).deferred()
    assert "The same as #1" in (await finished(ada, general, again))["content"]
    assert (await rig.job(2)).request == job.request
    act = await ada.click(shown, "Reroll")
    await finished(ada, general, await act.deferred())
    rerolled = (await rig.job(3)).request
    assert rerolled.image_prompts == (prompt,)
    assert rerolled.seed != job.request.seed
    entry = await (await ada.command(general, "history")).response()
    assert "a castle" in str(entry)


async def test_where_a_preset_draws_with_flux_the_menu_has_its_adapters(
    rig: Rig, bo: Person, general: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {header.name: header for header in headers.read()}
    for file, header in FLUX.items():
        known[header].write(tmp_path / "models" / file)
    write_eyes(tmp_path / "models")
    await rig.studio.catalog.scan()
    monkeypatch.setattr(picture_dialogs, "FETCHED_WITHIN", PATIENCE)
    posted = await bo.say_with_file(general, "sketch.png", png("blue", (90, 60)))
    user = int((await bo.state())["me"]["id"])
    preset = Preset(name="mine", model="flux1-dev", steps=2, width=128, height=128)
    await rig.studio.store.own_presets.write(user, preset)
    await rig.studio.store.own_presets.set_default(user, "mine")
    act = await bo.use_on_message("Use as style", posted)
    said = (await act.response())["content"]
    assert "clip-vit-large-patch14.safetensors into the folder clip_vision" in said
    whole_clip = {
        "text_model.embeddings.token_embedding.weight": (49408, 768),
        "vision_model.embeddings.class_embedding": (1024,),
        "visual_projection.weight": (768, 1024),
    }
    write(tmp_path / "models" / "clip_vision" / "model.safetensors", whole_clip)
    await rig.studio.catalog.scan()
    # with an IP-Adapter of its own it is that, as it is to act
    preset = msgspec.structs.replace(
        preset, name="own", ip_adapter="ip_adapter:end=0.5", image_weight=0.6
    )
    await rig.studio.store.own_presets.write(user, preset)
    await rig.studio.store.own_presets.set_default(user, "own")
    act = await bo.use_on_message("Use as style", posted)
    offered = str(await act.modal())
    assert "ip_adapter:end=0.5" in offered
    assert "ip-adapter_sd15" not in offered
    assert "'0.6'" in offered
    sent = await act.submit(
        prompt="a castle", ip_adapter=["ip_adapter:end=0.5"], image_weight="0.6"
    )
    await finished(bo, general, await sent.deferred())
    request = (await rig.job(1)).request
    [prompt] = request.image_prompts
    assert (request.model, prompt.name, prompt.weight, prompt.end) == (
        *("flux1-dev", "ip_adapter", 0.6, 0.5),
    )


async def test_a_picture_that_took_long_is_asked_about_by_a_button(
    rig: Rig, ada: Person, general: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_eyes(tmp_path / "models")
    await rig.studio.catalog.scan()
    monkeypatch.setattr(picture_dialogs, "FETCHED_WITHIN", 0)
    posted = await ada.say_with_file(general, "sketch.png", png())
    act = await ada.use_on_message("Use as style", posted)
    asked = await act.response()
    await rig.restart()
    act = await ada.click(asked, "Describe the picture")
    await act.modal()
    sent = await act.submit(prompt="a castle", ip_adapter=["ip-adapter_sd15"], image_weight="5")
    assert "must be from -1 to 3" in (await sent.response())["content"]
    assert await rig.studio.jobs.get(1) is None


async def test_without_an_adapter_it_is_said_what_to_get(
    rig: Rig, ada: Person, general: str, tmp_path: Path
) -> None:
    (tmp_path / "models" / "ipadapter" / "ip-adapter_sd15.safetensors").unlink()
    await rig.studio.catalog.scan()
    posted = await ada.say_with_file(general, "sketch.png", png())
    act = await ada.use_on_message("Use as style", posted)
    said = (await act.response())["content"]
    assert "into the folder ipadapter of your models" in said
