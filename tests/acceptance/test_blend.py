"""`/blend`: pictures that were drawn here, and any others."""

from pathlib import Path

import msgspec
import pytest

from bot.config import Config
from playground.person import Person
from tests.acceptance.conftest import Rig, finished, png
from tests.acceptance.test_image_prompts import write_eyes
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_own_presets import id_of
from tests.acceptance.test_retry import RETRY
from tests.unit.generation.test_catalog import write


async def test_two_pictures_of_the_same_model_are_blended(
    rig: Rig, ada: Person, general: str
) -> None:
    for prompt, seed in (("a red apple", 5), ("a blue cup", 6)):
        await imagine(ada, general, prompt=prompt, seed=seed)
    act = await ada.command(general, "blend", job_1=1, job_2=2, share=0.25)
    done = await finished(ada, general, await act.deferred())
    job = await rig.job(3)
    assert (job.action, job.parent) == ("blend", 1)
    assert job.request.prompt == "a red apple :0.75 AND a blue cup :0.25"
    assert (job.request.seed, job.request.variation_seed) == (5, 6)
    assert job.request.variation_strength == 0.25
    assert done["attachments"]
    # what can't be is said before anything is drawn
    for options, said in (
        ({"job_1": 1}, "two to four pictures"),
        ({"job_1": 1, "job_2": 99}, "no request #99"),
        ({"job_1": 1, "job_2": 3}, "a variation can only be the first"),
        ({"job_1": 1, "number_1": 7, "job_2": 2}, "Say which as number"),
    ):
        refused = await ada.command(general, "blend", **options)
        assert said in (await refused.response())["content"], options
    assert await rig.studio.jobs.get(4) is None


async def test_other_pictures_need_something_that_sees_them(
    rig: Rig, ada: Person, general: str
) -> None:
    files = {f"picture_{n}": await ada.upload(f"{n}.png", png()) for n in (1, 2)}
    act = await ada.command(general, "blend", **files)
    said = (await act.response())["content"]
    assert "needs an IP-Adapter for demo" in said
    assert "job_1 and job_2" in said
    assert await rig.studio.jobs.get(1) is None


BLEND = "Blend with…"


def with_adapter(models: Path) -> None:
    """An IP-Adapter for the demo model, as wide as it is, and what it sees by."""
    tensors = {
        "image_proj.proj.weight": (768, 1024),
        "image_proj.norm.weight": (192,),
        "ip_adapter.1.to_k_ip.weight": (64, 192),
    }
    write(models / "ipadapter" / "ip-adapter_sd15.safetensors", tensors)
    write_eyes(models)


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    """With a folder of models of one's own."""
    folder = tmp_path / "models"
    folder.mkdir()
    replace = msgspec.structs.replace
    return replace(config, models=replace(config.models, folders=(folder,)))


async def test_a_picture_of_a_message_is_blended_with_one_by_its_number(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    for prompt, seed in (("a red apple", 5), ("a blue cup", 6)):
        shown = await imagine(ada, general, prompt=prompt, seed=seed)
    act = await bo.use_on_message(BLEND, shown)
    for others, said in (
        ("", "two to four pictures"),
        ("x", "names no picture"),
        ("99", "no request #99"),
        ("https://discord.com/channels/1/2/3", "leads to no picture"),
    ):
        sent = await act.submit(others=others, share="0.25")
        assert said in (await sent.response())["content"], others
        # what was typed is there again, and the message's picture
        act = await bo.click(await sent.response(), RETRY)
        assert "'0.25'" in str(await act.modal())
    await rig.restart()
    sent = await act.submit(others="#1", share="0.25", prompt="")
    done = await finished(bo, general, await sent.deferred())
    job = await rig.job(3)
    assert (job.action, job.parent, job.origin.user_id) == ("blend", 2, await id_of(bo))
    assert job.request.prompt == "a blue cup :0.75 AND a red apple :0.25"
    assert done["attachments"]
    # or by a link to its message
    act = await bo.use_on_message(BLEND, done)
    link = f"https://discord.com/channels/1/{general}/{shown['id']}"
    await (await act.submit(others=link, prompt="a fox")).deferred()
    request = (await rig.job(4)).request
    assert (request.prompt, request.variation_seed) == ("a fox", 6)


async def test_any_pictures_are_blended_by_what_an_ip_adapter_sees(
    rig: Rig, ada: Person, bo: Person, general: str, tmp_path: Path
) -> None:
    with_adapter(tmp_path / "models")
    await rig.studio.catalog.scan()
    drawn = await imagine(ada, general, prompt="a red apple", seed=5)
    act = await bo.use_on_message(BLEND, drawn)
    sent = await act.submit(more=[await bo.upload("cup.png", png("blue"))], share="0.3")
    await finished(bo, general, await sent.deferred())
    job = await rig.job(2)
    [prompt] = job.request.image_prompts
    assert prompt.pictures[0] == (await rig.job(1)).pictures[0].file
    assert (prompt.join, prompt.shares, len(prompt.pictures)) == ("average", (0.7, 0.3), 2)
    assert (job.action, job.parent, job.parent_picture) == ("blend", 1, 0)
    # of somebody's own message several may be chosen
    files = [(f"{colour}.png", png(colour)) for colour in ("red", "blue", "lime")]
    posted = await ada.say_with_files(general, files)
    act = await bo.use_on_message(BLEND, posted)
    sent = await act.submit(pictures=["0", "2"], prompt="a fox")
    await finished(bo, general, await sent.deferred())
    job = await rig.job(3)
    assert (job.request.prompt, job.parent) == ("a fox", None)
    assert len(job.request.image_prompts[0].pictures) == 2


async def test_what_others_keep_private_is_not_blended(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    hidden = await imagine(ada, general, prompt="a secret", private=True)
    shown = await imagine(bo, general, prompt="a cup", seed=6)
    act = await bo.use_on_message(BLEND, shown)
    for other in ("1", f"https://discord.com/channels/1/{general}/{hidden['id']}"):
        sent = await act.submit(others=other)
        assert "no request #1" in (await sent.response())["content"], other
        act = await bo.click(await sent.response(), RETRY)
    # of one's own private picture what comes is private
    act = await ada.use_on_message(BLEND, shown)
    sent = await act.submit(others="1")
    await sent.deferred()
    assert (await rig.job(3)).origin.private
