"""What people see of a job, from its request to its pictures."""

from datetime import UTC, datetime
from typing import Any

import discord
import msgspec

from bot.locales import Texts
from bot.ui import job_embeds
from bot.ui.job_embeds import Surroundings
from generation.job import Job, JobState, PictureRecord, PresetUse, Provenance
from generation.numerics import Numerics
from tests.fixtures.requests import a_request, an_origin

ENGLISH, CHINESE = Texts("en-US"), Texts("zh-CN")
MADE = Provenance(
    seconds=1.04, seconds_loading=0, batch_size=1, memory_peak=0, hashes={}, versions={}
)


def a_job(id_: int = 1, *, user: int = 1, private: bool = False, **more: Any) -> Job:
    request = more.pop("request", a_request())
    return Job(
        id=id_,
        state=more.pop("state", JobState.FINISHED),
        request=request,
        origin=an_origin(user, private=private),
        created_at=datetime.now(UTC),
        provenance=MADE,
        **more,
    )


def fields(embed: discord.Embed) -> dict[str, str]:
    return {str(field.name): str(field.value) for field in embed.fields}


def test_while_it_waits_its_prompt_and_who_asked_are_shown() -> None:
    embed = job_embeds.asked(a_job(request=a_request(prompt="a *loud* castle")), ENGLISH)
    assert embed.description == "a \\*loud\\* castle"
    assert embed.author.name == "user 1"


def test_long_prompts_are_cut() -> None:
    embed = job_embeds.asked(a_job(request=a_request(prompt="castle " * 500)), ENGLISH)
    assert embed.description is not None
    assert len(embed.description) == job_embeds.PROMPT_MAX_ON_THE_WAY
    assert embed.description.endswith("…")


def test_what_came_of_anothers_picture_says_whose_it_was() -> None:
    child = a_job(2, user=2, action="reroll", parent=1)
    shown = job_embeds.who_asked(child, ENGLISH, Surroundings(a_job(1, user=1)))
    assert shown == "user 2 · reroll of user 1’s #1"
    for embed in (
        job_embeds.asked(child, ENGLISH, Surroundings(a_job(1, user=1))),
        job_embeds.ended(child, ENGLISH, Surroundings(a_job(1, user=1))).embed,
    ):
        assert embed is not None
        assert embed.author.name == shown


def test_what_came_of_ones_own_or_a_private_picture_names_nobody_else() -> None:
    child = a_job(2, user=2, action="vary_subtle", parent=1)
    own = job_embeds.who_asked(child, ENGLISH, Surroundings(a_job(1, user=2)))
    private = job_embeds.who_asked(child, ENGLISH, Surroundings(a_job(1, user=1, private=True)))
    assert own == private == "user 2 · variation of #1"
    assert job_embeds.who_asked(child, ENGLISH, Surroundings()) == "user 2"


def test_who_failed_is_named_too() -> None:
    embed = job_embeds.ended(a_job(state=JobState.FAILED), ENGLISH).embed
    assert embed is not None
    assert embed.author.name == "user 1"


def test_a_variation_is_shown_with_all_that_makes_it() -> None:
    request = a_request(
        count=2,
        variation_seed=11,
        variation_strength=0.3,
        lineage=[{"seed": 5, "strength": 0.1}, {"seed": 6, "strength": 0.1}],
    )
    shown = fields(job_embeds.parameters(a_job(request=request), ENGLISH))
    assert shown["Seed"] == "7"
    assert shown["Variation seeds"] == "11, 12"
    assert shown["Variation strength"] == "0.3"
    assert shown["Varied before"] == "2 times"
    one = fields(job_embeds.parameters(a_job(request=request.with_(count=1)), CHINESE))
    assert one["变体种子"] == "11"
    assert one["此前的变体"] == "2 次"


def test_what_is_no_variation_does_not_speak_of_one() -> None:
    plain = a_request(variation_seed=11, variation_strength=0.0, count=2)
    shown = fields(job_embeds.parameters(a_job(request=plain), ENGLISH))
    assert shown["Seeds"] == "7, 8"
    assert not any("ari" in name for name in shown)


def test_one_picture_of_a_variation_has_its_own_second_seed() -> None:
    request = a_request(count=2, variation_seed=11, variation_strength=0.3)
    picture = PictureRecord(
        index=1, seed=7, width=8, height=8, file="f", pixels_sha256="p", variation_seed=12
    )
    shown = fields(job_embeds.picture(a_job(request=request), picture, ENGLISH))
    assert (shown["Seed"], shown["Variation seed"]) == ("7", "12")
    assert shown["Variation strength"] == "0.3"


def test_preset_loras_and_controlnets_are_named() -> None:
    request = a_request(
        loras=[{"name": "pixel", "weight": 0.8}, {"name": "ink", "weight": -1.25}],
        controls=[{"name": "edges", "picture": "0" * 64, "scale": 1.0}],
    )
    job = a_job(request=request, preset=PresetUse("Comic", 3))
    shown = fields(job_embeds.parameters(job, ENGLISH))
    assert shown["Preset"] == "Comic"
    assert shown["LoRA"] == "pixel × 0.8, ink × -1.25"
    assert shown["ControlNet"] == "edges × 1"


def test_a_refiner_is_shown_with_its_share_of_the_steps() -> None:
    shown = fields(job_embeds.parameters(a_job(request=a_request(refiner="fine")), ENGLISH))
    assert shown["Refiner"] == "fine from 0.8 of the steps on"
    assert "Refiner" not in fields(job_embeds.parameters(a_job(), ENGLISH))


def test_what_a_controlnet_is_told_is_shown() -> None:
    use = {"name": "union", "picture": "0" * 64, "kind": "depth"}
    job = a_job(request=a_request(controls=[use, use | {"kind": None, "end": 0.5}]))
    shown = fields(job_embeds.parameters(job, ENGLISH))
    assert shown["ControlNet"] == "union × 1 (depth), union × 1 (0 – 0.5)"
    around = Surroundings(untold=("union",))
    assert "union; it is taken for lines (canny)" in job_embeds.ended(job, ENGLISH, around).content


def test_numbers_are_written_as_people_write_them_and_seeds_to_be_copied() -> None:
    request = a_request(guidance_scale=7.123456789, seed=2**53 - 1)
    embed = job_embeds.parameters(a_job(request=request), ENGLISH)
    shown = fields(embed)
    assert shown["Guidance"] == "7.123456789"
    assert shown["Seed"] == "9007199254740991"
    assert embed.footer.text == "#1 · 1 s"


def test_words_that_the_model_does_not_know_are_named() -> None:
    around = Surroundings(unknown=("dusk", "fog"), known=("dog", "cat"))
    body = job_embeds.ended(a_job(), ENGLISH, around)
    assert body.content == "-# demo doesn’t know: dusk, fog. Words that it knows: dog, cat, …"
    spaced = job_embeds.ended(a_job(), ENGLISH, Surroundings(spaced=("fog: 1.2)", "a:1 )"))).content
    assert spaced.startswith("-# A weight has no space beside its number")
    assert spaced.endswith("fog: 1.2), a:1 )")
    assert job_embeds.ended(a_job(), ENGLISH, Surroundings(known=("dog",))).content == ""


def test_a_replay_names_what_was_computed_in_another_way() -> None:
    def drawn(id_: int, pixels: str, **numerics: Any) -> Job:
        record = PictureRecord(index=0, seed=1, width=64, height=64, file="", pixels_sha256=pixels)
        plain = Numerics(batch_size=4, precision="float32", vae_precision="float32")
        computed = msgspec.structs.replace(plain, **numerics)
        made = msgspec.structs.replace(MADE, numerics=computed)
        return msgspec.structs.replace(a_job(id_), pictures=(record,), provenance=made)

    first = drawn(1, "a", threads=2)
    second = drawn(2, "b", threads=8, batch_size=1)
    said = job_embeds.replayed(first, second, ENGLISH)
    assert "Not quite the same as #1" in said
    assert "cpu\\_threads: 8 instead of 2" in said
    assert "batch\\_size: 1 instead of 4" in said
    assert "8" in job_embeds.replayed(first, second, CHINESE)
    # what differs without effect is not worth a word
    assert "to the last bit" in job_embeds.replayed(first, drawn(2, "a", threads=8), ENGLISH)


def test_what_memory_had_changed_is_said() -> None:
    plain = a_job()
    assert job_embeds.ended(plain, ENGLISH).content == ""
    assert plain.provenance is not None
    spared = ("plan_tiled", "plan_batch", "of a later version")
    changed = msgspec.structs.replace(
        plain, provenance=msgspec.structs.replace(plain.provenance, spared=spared)
    )
    assert job_embeds.ended(changed, ENGLISH).content == (
        "-# Memory ran out at first, so it was drawn otherwise: "
        "decoded in tiles, one picture at a time"
    )
