"""Pictures that were grown, drawn anew in part or by words, drawn once more: the same bytes."""

import io
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from bot.config import Config
from playground.person import Person
from tests.acceptance.conftest import Json, Rig, press
from tests.acceptance.test_edits_drawn import digest, drawn
from tests.acceptance.test_edits_drawn import rig as rig
from tests.acceptance.test_inpainting import mask
from tests.fixtures import models, segmenters

pytestmark = pytest.mark.slow


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    """With a Stable Diffusion and a CLIPSeg of random weights."""
    folder = tmp_path / "models"
    models.tiny_stable_diffusion(folder / "diffusers" / "demo")
    segmenters.file(folder / "clipseg" / f"{segmenters.NAME}.safetensors")
    replace = msgspec.structs.replace
    return replace(
        config,
        models=replace(config.models, folders=(folder,)),
        limits=replace(config.limits, pixels=128 * 128),
        worker=replace(config.worker, picture_check_model=""),
    )


class Member:
    """Somebody who asks for one picture after the other, and looks at each."""

    def __init__(self, rig: Rig, person: Person, channel: str) -> None:
        self.rig, self.person, self.channel, self.jobs = rig, person, channel, 0

    async def gets(self, sent: Json) -> tuple[Json, str]:
        """The message of what was asked for, and a digest of its picture's pixels."""
        self.jobs += 1
        shown = await drawn(self.rig, self.person, self.channel, self.jobs, sent)
        _, content = await self.rig.control.get(shown["attachments"][0]["url"])
        with Image.open(io.BytesIO(content)) as picture:
            return shown, digest(picture)

    async def replays(self, job: int) -> tuple[Json, str]:
        act = await self.person.command(self.channel, "replay", job=job)
        return await self.gets(await act.deferred())


@pytest.fixture
def member(rig: Rig, ada: Person, general: str) -> Member:
    return Member(rig, ada, general)


async def test_what_was_made_of_a_picture_is_made_again_to_the_last_bit(
    member: Member, rig: Rig, ada: Person, general: str
) -> None:
    asked = {"prompt": "a cat --steps 2 --seed 5", "width": 96, "height": 64, "count": 1}
    act = await ada.command(general, "imagine", **asked)
    first, before = await member.gets(await act.deferred())

    act = await ada.click(first, "Left")
    _, grown = await member.gets(await act.deferred())
    act = await ada.click(first, "Zoom out ×1.5")
    _, zoomed = await member.gets(await act.deferred())

    act = await press(ada, first, "Draw a part anew…")
    upload = await ada.upload("mask.png", mask())
    how = {"how": ["latent noise/only masked"], "denoising": "1"}
    sent = await act.submit(prompt="a hat --steps 2", mask=[upload], **how)
    _, masked = await member.gets(await sent.deferred())
    assert (await rig.job(4)).request.mask is not None

    act = await press(ada, first, "Draw a part anew…")
    how = {"how": ["fill/whole picture"], "denoising": "0.9"}
    sent = await act.submit(prompt="a hat --steps 2", mask_words="the hat, the scarf", **how)
    _, by_words = await member.gets(await sent.deferred())
    job = await rig.job(5)
    assert job.provenance is not None
    assert f"segmenter:{segmenters.NAME}" in job.provenance.hashes

    made = {2: grown, 3: zoomed, 4: masked, 5: by_words}
    assert len({before, *made.values()}) == 5
    for number, pixels in made.items():
        again, same = await member.replays(number)
        assert same == pixels, number
        assert f"The same as #{number}" in again["content"]

    # of what is not there nothing is drawn
    act = await press(ada, first, "Draw a part anew…")
    how = {"how": ["fill/whole picture"], "denoising": "0.9"}
    sent = await act.submit(prompt="a hat --mask-threshold 1", mask_words="the hat", **how)
    message = await sent.deferred()
    job = await rig.until(lambda job: job.ended and job.delivered_at is not None, 10)
    assert job.pictures == ()
    assert job.failure is not None
    assert job.failure.code == "mask_words_unfound"
    shown = await ada.message(general, message["id"])
    assert shown["attachments"] == []
    text = str(shown["embeds"]) + shown["content"]
    assert "Nothing was found of “the hat” in the picture" in text


async def test_a_variation_seed_of_the_dialog_is_kept_to(
    member: Member, rig: Rig, ada: Person, general: str
) -> None:
    """As a line and as a flag; the same is drawn again, and another is another picture."""
    asked = {"prompt": "a cat --steps 2 --seed 5", "width": 96, "height": 64, "count": 1}
    act = await ada.command(general, "imagine", **asked)
    first, before = await member.gets(await act.deferred())
    found = {}
    for number, more in ((2, "9"), (3, "10")):
        act = await ada.click(first, "Edit")
        lines = "seed: 5\nvariation_seed: {}\nvariation_strength: 0.3\nmodel: demo\nsteps: 2"
        told = lines.format(more) + "\nwidth: 96\nheight: 64\ncount: 1\nsampler: Euler a"
        sent = await act.submit(prompt="a cat", negative_prompt="", parameters=told)
        _, found[number] = await member.gets(await sent.deferred())
        request = (await rig.job(number)).request
        assert (request.variation_seed, request.variation_strength) == (int(more), 0.3)
    assert len({before, *found.values()}) == 3
    act = await ada.click(first, "Edit")
    told = "seed: 5\nmodel: demo\nsteps: 2\nwidth: 96\nheight: 64\ncount: 1\nsampler: Euler a"
    flags = "a cat --variation-seed 9 --variation-strength 0.3"
    sent = await act.submit(prompt=flags, negative_prompt="", parameters=told)
    _, flagged = await member.gets(await sent.deferred())
    assert flagged == found[2]
    again, same = await member.replays(2)
    assert same == found[2]
    assert "The same as #2" in again["content"]
