"""A hires pass: as flags, by itself, from A1111's data, in presets, and over a finished picture."""

import msgspec
import pytest

from bot.config import Config
from generation.hires import HiresSettings
from generation.request import NO_HIRES
from playground.person import Person, fields_of
from tests.acceptance.conftest import Rig, buttons, finished, offered
from tests.acceptance.test_enlarging import fields
from tests.acceptance.test_imagine import imagine
from tests.acceptance.test_pictures import pressed
from tests.acceptance.test_refusals import refused
from tests.acceptance.test_servers import save_preset


@pytest.fixture
async def guild(ada: Person) -> str:
    return str((await ada.state())["guilds"][0]["id"])


@pytest.mark.parametrize("size", [(128, 192), (256, 384)])
async def test_flags_ask_for_it(rig: Rig, ada: Person, general: str, size: tuple[int, int]) -> None:
    flags = "--hires 2 --hires-upscaler nearest --hires-denoising 0.5 --hires-steps 3"
    wide, high = size[0] // 2, size[1] // 2
    message = await imagine(ada, general, prompt=f"a fox {flags}", width=wide, height=high)
    request = (await rig.job(1)).request
    assert (request.width, request.hires, request.hires_upscaler) == (wide, "2", "Nearest")
    assert (request.hires_denoising, request.hires_steps) == (0.5, 3)
    [file] = message["attachments"]
    assert (file["width"], file["height"]) == request.drawn_size == size
    said = fields(message)
    assert said["Size"] == f"{size[0]} × {size[1]}"
    assert said["Hires pass"] == f"{wide} × {high} → Nearest, 0.5, 3 steps"
    act = await ada.click(message, "Parameters")
    parameters = await act.response()
    assert "Denoising strength: 0.5, Hires upscale: 2, Hires steps: 3" in parameters["content"]
    # the same again, to the option
    act = await ada.command(general, "replay", job=1)
    again = await finished(ada, general, await act.deferred())
    assert "The same as #1" in again["content"]
    assert (await rig.job(2)).request == request


async def test_a_size_far_over_the_models_is_drawn_in_two_passes(
    rig: Rig, ada: Person, general: str
) -> None:
    message = await imagine(ada, general, width=384, height=256)
    request = (await rig.job(1)).request
    assert (request.width, request.height, request.hires) == (160, 104, "384x256")
    assert fields(message)["Size"] == "384 × 256"
    assert fields(message)["Hires pass"] == "160 × 104 → demo-x4, 0.05"
    await imagine(ada, general, prompt="a fox --hires off", width=384, height=256)
    request = (await rig.job(2)).request
    assert (request.width, request.hires) == (384, None)


class TestTurnedOff:
    @pytest.fixture
    def config(self, config: Config) -> Config:
        return msgspec.structs.replace(config, hires=HiresSettings(automatic=False))

    async def test_the_owner_turns_that_off(self, rig: Rig, ada: Person, general: str) -> None:
        await imagine(ada, general, width=384, height=256)
        assert (await rig.job(1)).request.hires is None


async def test_what_a1111_wrote_draws_it(rig: Rig, ada: Person, general: str) -> None:
    text = (
        "a fox\nNegative prompt: fog\nSteps: 5, Sampler: DPM++ 2M, Schedule type: Karras, "
        "CFG scale: 4, Seed: 7, Size: 64x96, Model: demo, Denoising strength: 0.45, "
        'Hires upscale: 2, Hires steps: 4, Hires upscaler: Latent, Hires prompt: "a fox, sharp", '
        "Version: v1.10.1"
    )
    message = await imagine(ada, general, prompt=text)
    request = (await rig.job(1)).request
    assert request.drawn_size == (128, 192)
    assert (request.hires_prompt, request.hires_denoising) == ("a fox, sharp", 0.45)
    assert "these mean nothing here: Version." in message["content"]


async def test_a_finished_picture_is_drawn_larger_from_its_seed(
    rig: Rig, ada: Person, general: str
) -> None:
    first = await imagine(ada, general, seed=5, count=2)
    drawn = (await rig.job(1)).request
    act = await ada.click(await ada.message(general, first["id"]), "darkroom:pick:1:1")
    picked = await act.response()
    larger = await pressed(rig, ada, general, picked, "Hires")
    assert (larger.action, larger.parent) == ("hires", 1)
    request = larger.request
    assert (request.seed, request.count, request.drawn_size) == (6, 1, (256, 256))
    assert request.with_(**NO_HIRES) == drawn.with_(seed=6, count=1)
    # what has one gets no other
    again = await finished(
        ada, general, await (await ada.command(general, "replay", job=2)).deferred()
    )
    assert "Hires" not in await offered(ada, again)
    assert "Reroll" in buttons(again)


async def test_a_dialogs_lines_change_it(rig: Rig, ada: Person, general: str) -> None:
    message = await imagine(ada, general, prompt="a fox --hires 2")
    act = await ada.click(message, "Edit")
    modal = await act.modal()
    shown = {f["custom_id"]: f.get("value", "") for f in fields_of(modal["components"])}
    lines = shown["parameters"]
    assert "hires: 2\nhires_upscaler: demo-x4\nhires_denoising: 0.05\n" in lines
    sent = await act.submit(
        prompt="a fox", negative_prompt="", parameters=lines.replace("hires: 2", "hires: 192x192")
    )
    await finished(ada, general, await sent.deferred())
    assert (await rig.job(2)).request.drawn_size == (192, 192)
    act = await ada.click(message, "Edit")
    assert await act.modal()
    sent = await act.submit(prompt="a fox", negative_prompt="", parameters="steps: 3")
    await finished(ada, general, await sent.deferred())
    assert (await rig.job(3)).request.hires is None


async def test_a_preset_has_it(rig: Rig, ada: Person, general: str) -> None:
    toml = '[[preset]]\nname = "soft"\nhires = "1.5"\nhires_upscaler = "nearest"\n'
    await save_preset(ada, general, "soft", toml)
    await imagine(ada, general, preset="soft")
    request = (await rig.job(1)).request
    assert (request.drawn_size, request.hires_upscaler) == ((192, 192), "Nearest")
    await imagine(ada, general, prompt="a fox --hires off", preset="soft")
    assert (await rig.job(2)).request.hires is None


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a fox --hires huge", "hires is “huge”. Write a factor, such as 2"),
        ("a fox --hires 9", "The hires pass makes 1152 × 1152 pixels"),
        ("a fox --hires 64x64", "which is smaller than the first pass"),
        ("a fox --hires 2 --hires-upscaler 4x-UltraSharp", "There is no upscaler “4x-UltraSharp”"),
        ("a fox --hires-steps 5", "hires_steps only makes sense together with hires"),
    ],
)
async def test_bad_input_gets_one_sentence(
    rig: Rig, ada: Person, general: str, prompt: str, said: str
) -> None:
    assert said in await refused(ada, general, prompt=prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        "a fox --hires 2 --hires-prompt a forbidden fox",
        "a fox --hires 2 --hires-cfg 0.5 --hires-negative-prompt forbidden",
        # drawn from the fifth step of the second pass on
        "a [fox:for(bid)den:9] --steps 4 --hires 2 --hires-steps 8",
        "a fox --steps 4 --hires 2 --hires-steps 8 --hires-prompt a [fox:for(bid)den:9]",
    ],
)
async def test_words_of_the_second_pass_are_held_to_the_blocklist(
    rig: Rig, ada: Person, general: str, guild: str, prompt: str
) -> None:
    await rig.studio.store.settings.change_guild(int(guild), blocklist=("forbidden",))
    assert "does not want something" in await refused(ada, general, prompt=prompt)


async def test_a_negative_prompt_that_only_leads_away_is_not(
    rig: Rig, ada: Person, general: str, guild: str
) -> None:
    await rig.studio.store.settings.change_guild(int(guild), blocklist=("forbidden",))
    await imagine(ada, general, prompt="a fox --hires 2 --hires-negative-prompt forbidden")
