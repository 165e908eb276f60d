"""A picture of anybody's, drawn after by an IP-Adapter from its message's menu."""

from pathlib import Path

import msgspec
import pytest

from bot.config import Config
from bot.features import image_prompt
from playground.person import Person
from tests.acceptance.conftest import Rig, finished, png
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
    monkeypatch.setattr(image_prompt, "FETCHED_WITHIN", PATIENCE)
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


async def test_a_picture_that_took_long_is_asked_about_by_a_button(
    rig: Rig, ada: Person, general: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_eyes(tmp_path / "models")
    await rig.studio.catalog.scan()
    monkeypatch.setattr(image_prompt, "FETCHED_WITHIN", 0)
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
