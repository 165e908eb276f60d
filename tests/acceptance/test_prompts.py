"""What people bring from elsewhere: tags, weights, pasted generation data, seeds of -1."""

import re

import pytest

from generation.rules import Limits
from playground.person import Person, fields_of
from tests.acceptance.conftest import Rig
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_refusals import refused

DATA = (
    "a (castle:1.2) <lora:demo-pixel-art:0.8>\nNegative prompt: fog\n"
    "Steps: 3, Sampler: Euler a, Schedule type: Automatic, CFG scale: 5, Seed: 99, Size: 192x128, "
    'Model: demo, Lora hashes: "demo-pixel-art: abababababab", Version: v1.10.1'
)


@pytest.mark.parametrize("text", [DATA, DATA.replace("\n", " ")])
async def test_pasted_generation_data_become_a_request(
    rig: Rig, ada: Person, general: str, text: str
) -> None:
    await imagine(ada, general, prompt=text)
    request = (await rig.job(1)).request
    assert (request.prompt, request.negative_prompt) == ("a (castle:1.2)", "fog")
    assert (request.steps, request.sampler, request.seed) == (3, "Euler a", 99)
    assert (request.width, request.height, request.guidance_scale) == (192, 128, 5)
    assert [(use.name, use.weight) for use in request.loras] == [("demo-pixel-art", 0.8)]


async def test_pasted_generation_data_in_the_edit_dialog(
    rig: Rig, ada: Person, general: str
) -> None:
    first = await imagine(ada, general, seed=7)
    act = await ada.click(await ada.message(general, first["id"]), "Edit")
    modal = await act.modal()
    shown = {f["custom_id"]: f.get("value", "") for f in fields_of(modal["components"])}
    await (await act.submit(**shown | {"prompt": DATA})).deferred()
    job = await rig.until(lambda job: job.delivered_at is not None, 2)
    assert (job.request.prompt, job.request.negative_prompt) == ("a (castle:1.2)", "fog")
    assert (job.request.steps, job.request.seed, job.request.width) == (3, 99, 192)


async def test_a_dialog_handed_in_unchanged_is_the_same_request(
    rig: Rig, ada: Person, general: str
) -> None:
    name = "demo-pixel-art:0.3333333333333333"
    first = await imagine(ada, general, lora=name, guidance=26.289032, seed=2**53 - 1)
    act = await ada.click(await ada.message(general, first["id"]), "Edit")
    modal = await act.modal()
    shown = {f["custom_id"]: f.get("value", "") for f in fields_of(modal["components"])}
    await (await act.submit(**shown)).deferred()
    await rig.until(lambda job: job.delivered_at is not None, 2)
    assert (await rig.job(2)).request == (await rig.job(1)).request


@pytest.mark.parametrize("bad", ["half an emoji \ud83d", "a zero \0 byte"])
async def test_text_that_cannot_be_kept_is_refused_wherever_it_is_typed(
    rig: Rig, ada: Person, general: str, bad: str
) -> None:
    said = "holds half a character or a zero byte"
    assert said in await refused(ada, general, prompt=bad)
    assert said in await refused(ada, general, negative_prompt=bad)
    assert said in await refused(ada, general, preset=bad)
    for act in (
        await ada.command(general, "history", search=bad),
        await ada.command(general, "preset show", name=bad),
    ):
        assert said in (await act.response())["content"]
    first = await imagine(ada, general)
    act = await ada.click(await ada.message(general, first["id"]), "Edit")
    sent = await act.submit(prompt=bad, parameters="steps: 2")
    assert said in (await sent.response())["content"]
    assert await rig.studio.jobs.get(2) is None


async def test_minus_one_is_a_random_seed(rig: Rig, ada: Person, general: str) -> None:
    first = await imagine(ada, general, seed=-1)
    await imagine(ada, general, prompt="a cat --seed -1")
    act = await ada.click(await ada.message(general, first["id"]), "Edit")
    await (await act.submit(prompt="a cat", parameters="seed: -1")).deferred()
    await rig.until(lambda job: job.delivered_at is not None, 3)
    seeds = {(await rig.job(number)).request.seed for number in (1, 2, 3)}
    assert len(seeds) == 3
    assert min(seeds) >= 0


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a cat --seed 12345678901234567890", "12,345,678,901,234,567,890; it must be from 0 to "
         "9,007,199,254,740,991, or -1 for a random one."),
        ("a cat <lora:nosuch:1>", "There is no LoRA “nosuch”. Nearest: demo-"),
        ("a cat <lora:demo-pixel-art:0.5:lbw=MIDD>", "has lbw=, which does nothing here"),
        ("a cat <hypernet:x:1>", "no hypernetworks here"),
        ("(a cat:500)", "“a cat” in prompt is weighted too strongly."),
        ("(" * 1000 + "a cat" + ")" * 1000, "prompt has more than 100 brackets one in another."),
        ("a cat" + " AND a dog" * 10, "more than 10 parts that are joined by AND"),
        ("a __cat__", "There is no wildcard “cat”: this bot has no lists to draw from."),
        ("a {cat|dog", "The braces in prompt can't be read. {a|b} draws one of the two; a brace"
         " that is meant as one is written \\{."),
        ("a {<lora:demo-pixel-art:1>|cat}", "can't be drawn. Write the tag of a LoRA beside"),
        ("a cat --lora nosuch:0.5", "There is no LoRA “nosuch”."),
        ("a cat --seed " + "1" * 4301, "has too many digits"),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_said(
    rig: Rig, ada: Person, general: str, prompt: str, said: str
) -> None:
    text = await refused(ada, general, prompt=prompt[:3999])
    assert said in text
    assert await rig.studio.jobs.get(1) is None


@pytest.mark.parametrize(
    "prompt",
    [
        "a for()bidden thing",
        r"a forb\idden thing",
        "a (forbid)(den)",
        "a [x:for:1]bidden thing",
        "a [x|for]bidden thing",
    ],
)
async def test_brackets_hide_no_word_from_the_blocklist(
    rig: Rig, ada: Person, general: str, prompt: str
) -> None:
    guild = (await ada.state())["guilds"][0]["id"]
    await rig.studio.store.settings.change_guild(int(guild), blocklist=("forbidden",))
    assert "does not want something" in await refused(ada, general, prompt=prompt)


async def test_what_would_be_a_weight_but_for_a_space_is_named(
    rig: Rig, ada: Person, general: str
) -> None:
    shown = await imagine(ada, general, prompt="a (cat: 1.2)", negative_prompt="(fog:2)")
    assert shown["content"].endswith("with one this was drawn as text: cat: 1.2)")
    shown = await imagine(ada, general, prompt="a (cat:1.2)")
    assert "space" not in shown["content"]


async def test_a_reroll_draws_the_prompt_anew(rig: Rig, ada: Person, general: str) -> None:
    animals = rig.config.wildcards.folder / "animal.txt"
    animals.parent.mkdir()
    animals.write_text("cat\ndog\nfox\n", encoding="utf-8")
    template = "a {red|green|blue|grey} __animal__"
    first = await imagine(ada, general, prompt=template, seed=7, count=2)
    asked = (await rig.job(1)).request
    assert re.fullmatch("a (red|green|blue|grey) (cat|dog|fox)", asked.prompt)
    assert asked.template == template
    assert first["embeds"][0]["description"] == asked.prompt
    again = await imagine(ada, general, prompt=template, seed=7)
    assert again["embeds"][0]["description"] == asked.prompt
    for number in range(3, 9):
        act = await ada.click(await ada.message(general, first["id"]), "Reroll")
        await act.deferred()
        await rig.until(lambda job: job.delivered_at is not None, number)
    rerolled = {(await rig.job(number)).request.prompt for number in range(3, 9)}
    assert len(rerolled) > 1

    # what is enlarged, edited or replayed is what was drawn
    act = await ada.click(await ada.message(general, again["id"]), "Edit")
    shown = {
        f["custom_id"]: f.get("value", "") for f in fields_of((await act.modal())["components"])
    }
    assert shown["prompt"] == asked.prompt
    act = await ada.click(await ada.message(general, again["id"]), "Edit")
    fewer = re.sub(r"steps: \d+", "steps: 2", shown["parameters"])
    await (await act.submit(**shown | {"parameters": fewer})).deferred()
    edited = (await rig.until(lambda job: job.delivered_at is not None, 9)).request
    assert (edited.prompt, edited.template, edited.steps) == (asked.prompt, template, 2)
    act = await ada.click(await ada.message(general, again["id"]), "Edit")
    await (await act.submit(**shown | {"prompt": "a {big|small} cat"})).deferred()
    edited = (await rig.until(lambda job: job.delivered_at is not None, 10)).request
    assert edited.prompt in ("a big cat", "a small cat")
    assert edited.template == "a {big|small} cat"


async def test_what_comes_of_an_enlarged_picture_has_the_size_before(
    rig: Rig, ada: Person, general: str
) -> None:
    first = await imagine(ada, general, prompt="a fox --hires off", width=512, height=512)
    assert rig.config.limits.side == 512
    assert rig.config.limits.upscaled_side == Limits().upscaled_side
    act = await ada.click(await ada.message(general, first["id"]), "Upscale")
    large = await act.deferred()
    job = await rig.until(lambda job: job.delivered_at is not None, 2)
    assert job.request.size == (2048, 2048)

    act = await ada.click(await ada.message(general, large["id"]), "Edit")
    modal = await act.modal()
    shown = {f["custom_id"]: f.get("value", "") for f in fields_of(modal["components"])}
    assert "width: 512\n" in shown["parameters"]
    larger = shown["parameters"].replace("width: 512", "width: 1024")
    said = await (await act.submit(**shown | {"parameters": larger})).response()
    assert "width is 1024; it must be from 64 to 512" in said["content"]

    act = await ada.click(await ada.message(general, large["id"]), "Edit")
    await (await act.submit(**shown)).deferred()
    edited = await rig.until(lambda job: job.delivered_at is not None, 3)
    assert (edited.request.width, edited.request.height, edited.request.tile) == (512, 512, 0)

    await ada.click(await ada.message(general, large["id"]), "Vary (subtle)")
    varied = await rig.until(lambda job: job.delivered_at is not None, 4)
    assert (varied.request.width, varied.request.count) == (512, 4)

    await ada.click(await ada.message(general, large["id"]), "Reroll")
    again = await rig.until(lambda job: job.delivered_at is not None, 5)
    assert again.request == (await rig.job(1)).request.with_(seed=again.request.seed)
