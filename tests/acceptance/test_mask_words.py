"""Masks by words: `--mask-words`, the field of the dialog, and what is said where it can't be."""

from pathlib import Path

import msgspec
import pytest

from bot.config import Config
from playground.person import Person, fields_of
from tests.acceptance.conftest import Rig, finished, png, press
from tests.acceptance.test_enlarging import fields
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_inpainting import erased, kept, mask
from tests.acceptance.test_pictures import last_job, pressed
from tests.acceptance.test_redraw import CHOSEN
from tests.acceptance.test_retry import RETRY, answer_to, refused
from tests.fixtures import faces
from tests.unit.generation.test_mask_words import PUBLISHED


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    """With a CLIPSeg, as far as a catalogue looks at it."""
    folder = tmp_path / "models"
    faces.write_names(folder / "clipseg" / "clipseg-rd64-refined.safetensors", *PUBLISHED)
    named = msgspec.structs.replace(config.models, folders=(folder,))
    return msgspec.structs.replace(config, models=named)


async def test_words_say_what_of_a_picture_is_drawn_anew(
    rig: Rig, ada: Person, general: str
) -> None:
    """What is erased of the picture is then no mask."""
    upload = await ada.upload("hole.png", erased())
    prompt = "a cat with a red hat --mask-words the hat, the scarf --mask-blur 2"
    message = await imagine(ada, general, prompt=prompt, init_picture=upload)
    job = await rig.job(1)
    request = job.request
    assert (request.mask_words, request.mask) == ("the hat, the scarf", None)
    assert (request.mask_model, request.denoising_strength) == ("clipseg-rd64-refined", 1.0)
    assert fields(message)["Mask"] == (
        "what is found of “the hat, the scarf”, edge blurred by 2 px"
    )
    assert job.provenance is not None
    assert "segmenter:clipseg-rd64-refined" in job.provenance.hashes
    act = await ada.click(message, "Parameters")
    assert 'Mask words: "the hat, the scarf"' in (await act.response())["content"]
    # what was found is shown to whoever asks, and beside the picture where that is wanted
    said = await (await press(ada, message, "Control picture")).response()
    assert "what is found of “the hat, the scarf”: 256 × 256" in said["content"]
    assert [file["filename"] for file in said["attachments"]] == ["darkroom-1-control-1.png"]
    again = await pressed(rig, ada, general, message, "Reroll")
    assert again.request.mask_words == "the hat, the scarf"
    act = await ada.click(message, "Edit")
    values = {
        f["custom_id"]: f.get("value", "") for f in fields_of((await act.modal())["components"])
    }
    assert "mask_words: the hat, the scarf\n" in values["parameters"]
    sent = await act.submit(
        **{**values, "parameters": values["parameters"].replace("the hat, ", "")}
    )
    await finished(ada, general, await sent.deferred())
    assert (await last_job(rig)).request.mask_words == "the scarf"


async def test_words_in_the_dialog_of_a_picture_and_a_mask_that_is_looked_through(
    rig: Rig, ada: Person, general: str
) -> None:
    message = await imagine(ada, general, width=64, height=64, count=1)
    act = await press(ada, message, "Draw a part anew…")
    sent = await act.submit(prompt="a red hat", mask_words="the hat", **CHOSEN)
    await finished(ada, general, await sent.deferred())
    request = (await rig.job(2)).request
    assert (request.mask, request.mask_words) == (None, "the hat")
    assert (request.masked_content, request.inpaint_area) == ("fill", "only masked")
    act = await press(ada, message, "Draw a part anew…")
    upload = await ada.upload("mask.png", mask())
    sent = await act.submit(prompt="a red hat --mask-words it", mask=[upload], **CHOSEN)
    await finished(ada, general, await sent.deferred())
    request = (await rig.job(3)).request
    assert request.mask_words == "it"
    assert (await kept(rig, request.mask)).size == (32, 32)


async def test_the_mask_is_shown_beside_the_picture_on_request(
    rig: Rig, ada: Person, general: str
) -> None:
    upload = await ada.upload("red.png", png())
    prompt = "a red hat --mask-words the hat --show-control"
    message = await imagine(ada, general, prompt=prompt, init_picture=upload)
    assert "darkroom-1-control-1.png" in [file["filename"] for file in message["attachments"]]


async def test_what_is_not_found_is_said_and_nothing_is_delivered(
    rig: Rig, ada: Person, general: str
) -> None:
    rig.engine.failures.append("mask_words_unfound")
    upload = await ada.upload("red.png", png())
    act = await ada.command(
        general, "imagine", prompt="a hat --mask-words the hat", init_picture=upload
    )
    message = await act.deferred()
    await rig.until(lambda job: job.ended)
    shown = await ada.message(general, message["id"])
    assert shown["attachments"] == []
    assert (await rig.job(1)).pictures == ()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (",", "Say in words what of the picture is drawn anew"),
        ("a,b,c,d,e,f,g,h,i,j,k", "11 things are looked for; at most 10 can be"),
        ("hat --mask-model other", "There is no model “other” that finds things by words"),
    ],
)
async def test_words_of_no_use_are_refused_and_kept(
    rig: Rig, ada: Person, general: str, words: str, said: str
) -> None:
    upload = await ada.upload("red.png", png())
    message = await refused(ada, general, prompt=f"a hat --mask-words {words}", init_picture=upload)
    assert said in message["content"]
    assert await rig.studio.jobs.get(1) is None
    act = await ada.click(message, RETRY)
    values = {
        f["custom_id"]: f.get("value", "") for f in fields_of((await act.modal())["components"])
    }
    assert values["prompt"] == f"a hat --mask-words {words}"
    assert "init_picture: kept" in values["parameters"]
    values["prompt"] = "a hat --mask-words the hat"
    sent = await act.submit(**values)
    await finished(ada, general, await sent.deferred())
    assert (await rig.job(1)).request.mask_words == "the hat"


async def test_the_mask_of_a_dialog_is_kept_with_what_was_typed(
    rig: Rig, ada: Person, general: str
) -> None:
    """Whatever it is refused for, twice, and after a restart."""
    message = await imagine(ada, general, width=64, height=64, count=1)
    act = await press(ada, message, "Draw a part anew…")
    upload = await ada.upload("mask.png", mask())
    wrong = {**CHOSEN, "denoising": "much"}
    sent = await act.submit(prompt="a red hat", mask_words="hat", mask=[upload], **wrong)
    said = await answer_to(sent)
    assert "denoising" in said["content"]
    await rig.restart()
    act = await ada.click(said, RETRY)
    found = {f["custom_id"]: f for f in fields_of((await act.modal())["components"])}
    assert (found["prompt"]["value"], found["mask_words"]["value"]) == ("a red hat", "hat")
    chosen = [option["value"] for option in found["how"]["options"] if option.get("default")]
    assert chosen == CHOSEN["how"]
    sent = await act.submit(prompt="a red hat --stepps 4", mask_words="hat", **CHOSEN)
    said = await answer_to(sent)
    assert "stepps" in said["content"]
    act = await ada.click(said, RETRY)
    await act.modal()
    sent = await act.submit(prompt="a red hat", mask_words="", **CHOSEN)
    await finished(ada, general, await sent.deferred())
    request = (await rig.job(2)).request
    assert (request.prompt, request.mask_words) == ("a red hat", None)
    found_mask = await kept(rig, request.mask)
    assert [found_mask.getpixel((left, 20)) for left in (8, 24)] == [255, 0]


async def test_a_dialog_without_a_mask_and_words_asks_for_one(
    rig: Rig, ada: Person, general: str
) -> None:
    message = await imagine(ada, general, width=64, height=64, count=1)
    act = await press(ada, message, "Draw a part anew…")
    sent = await act.submit(prompt="a red hat", **CHOSEN)
    assert "Say in words what is drawn anew, or upload a mask" in (await answer_to(sent))["content"]
    assert await rig.studio.jobs.get(2) is None
