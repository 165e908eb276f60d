"""How a picture was made, as its file says: shown, drawn again, and changed in a dialog."""

import json

import pytest
from PIL import Image, PngImagePlugin

from playground.person import Act, Person
from playground.world import EPHEMERAL
from tests.acceptance.conftest import Json, Rig, finished, png
from tests.acceptance.test_retry import answer_to, refused, shown
from tests.fixtures.pictures import chunk, drawn, encoded, with_chunks

INFOTEXT = """a lighthouse, (stormy:1.2)
Negative prompt: fog, blur
Steps: 4, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 41, Size: 64x128, \
Model hash: 0123456789, Model: demo, ENSD: 31337, Version: v1.10.1"""
DRAW = "Edit and draw"
AGAIN = "Draw this again"


def by_a1111(text: str, **more: str) -> bytes:
    """As A1111's webui saves it, through Pillow."""
    info = PngImagePlugin.PngInfo()
    for keyword, content in {"parameters": text, **more}.items():
        if content:
            info.add_text(keyword, content)
    return encoded(drawn(), "PNG", pnginfo=info)


def with_comment(kind: str, text: str) -> bytes:
    """As A1111's webui saves it in other files: EXIF's UserComment, through piexif."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode("utf-16-be")
    return encoded(drawn(), kind, exif=exif.tobytes())


async def told(act: Act) -> Json:
    """What a file says, where nothing but the embed says it."""
    return await act.person.wait_for(
        "MESSAGE_UPDATE", lambda message: bool(message["embeds"]), since=act._since
    )


@pytest.mark.parametrize("door", ["command", "menu"])
async def test_data_of_a_file_are_shown_and_drawn(
    rig: Rig, ada: Person, bo: Person, general: str, door: str
) -> None:
    data = by_a1111(INFOTEXT)
    if door == "command":
        upload = await bo.upload("00041-41.png", data)
        act = await bo.command(general, "info", file=upload)
    else:
        posted = await ada.say_with_file(general, "00041-41.png", data)
        act = await bo.use_on_message("Parameters", posted)
    answer = await answer_to(act)
    assert INFOTEXT in answer["content"]
    assert "ENSD" in answer["content"].rpartition("```")[2], "what means nothing here is named"
    await rig.restart()
    act = await bo.click(answer, DRAW)
    values = await shown(act)
    assert (values["prompt"], values["negative_prompt"]) == (
        "a lighthouse, (stormy:1.2)",
        "fog, blur",
    )
    sent = await act.submit(**values)
    await finished(bo, general, await sent.deferred())
    request = (await rig.job(1)).request
    assert (request.prompt, request.negative_prompt) == (
        values["prompt"],
        values["negative_prompt"],
    )
    assert (request.sampler, request.schedule) == ("DPM++ 2M", "Karras")
    assert (request.steps, request.guidance_scale) == (4, 6.5)
    assert (request.seed, request.width, request.height) == (41, 64, 128)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF"])
async def test_a_picture_is_drawn_again_as_its_file_says(
    rig: Rig, ada: Person, bo: Person, general: str, kind: str
) -> None:
    """Also after a restart, with nothing in the text drawn or taken for a flag."""
    text = INFOTEXT.replace("a lighthouse", "a {red|blue} lighthouse --seed 5 __fog__")
    data = by_a1111(text) if kind == "PNG" else with_comment(kind, text)
    posted = await ada.say_with_file(general, f"41.{kind.lower()}", data)
    answer = await answer_to(await bo.use_on_message("Parameters", posted))
    assert answer["embeds"][0]["author"]["name"] == "Made with AUTOMATIC1111"
    fields = {field["name"]: field["value"] for field in answer["embeds"][0]["fields"]}
    assert fields["Sampler"] == "DPM++ 2M, Karras"
    assert fields["Model"] == "demo"
    await rig.restart()
    act = await bo.click(answer, AGAIN)
    await finished(bo, general, await act.deferred())
    job = await rig.job(1)
    assert job.origin.user_name == "Bo"
    assert job.origin.ignored == ("ENSD",)
    request = job.request
    assert request.prompt == "a {red|blue} lighthouse --seed 5 __fog__, (stormy:1.2)"
    assert (request.negative_prompt, request.template) == ("fog, blur", None)
    assert (request.seed, request.steps, request.width, request.height) == (41, 4, 64, 128)
    assert (request.sampler, request.schedule, request.conventions) == (
        *("DPM++ 2M", "Karras"),
        "a1111",
    )


GRAPH = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 41,
            "steps": 4,
            "cfg": 3.5,
            "denoise": 1,
            "sampler_name": "dpmpp_2m",
            "scheduler": "karras",
            "model": ["4", 0],
            "positive": ["6", 0],
            "negative": ["7", 0],
            "latent_image": ["5", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "demo.safetensors"}},
    "5": {
        "class_type": "EmptyLatentImage",
        "inputs": {"width": 64, "height": 128, "batch_size": 1},
    },
    "6": {
        "class_type": "CLIPTextEncode",
        "inputs": {"text": "a (lighthouse:1.2) [sic]", "clip": ["4", 1]},
    },
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "fog", "clip": ["4", 1]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}},
}
"""ComfyUI's default workflow."""


@pytest.mark.parametrize("way", [AGAIN, DRAW])
async def test_a_graph_of_comfyui_is_drawn_by_its_conventions(
    rig: Rig, ada: Person, general: str, way: str
) -> None:
    data = by_a1111("", prompt=json.dumps(GRAPH), workflow="{}")
    upload = await ada.upload("ComfyUI_00001_.png", data)
    answer = await told(await ada.command(general, "info", file=upload))
    assert answer["embeds"][0]["author"]["name"] == "Made with ComfyUI"
    assert [file["filename"] for file in answer["attachments"]] == ["workflow.json"]
    act = await ada.click(answer, way)
    if way == DRAW:
        act = await act.submit(**await shown(act))
    await finished(ada, general, await act.deferred())
    request = (await rig.job(1)).request
    assert (request.prompt, request.negative_prompt) == ("a (lighthouse:1.2) [sic]", "fog")
    assert (request.sampler, request.schedule, request.conventions) == (
        *("DPM++ 2M", "Karras"),
        "comfyui",
    )
    assert (request.seed, request.steps, request.guidance_scale) == (41, 4, 3.5)
    assert (request.width, request.height, request.model) == (64, 128, "demo")


async def test_what_is_missing_is_named_and_nothing_is_drawn(
    rig: Rig, ada: Person, general: str
) -> None:
    text = INFOTEXT.replace("Model: demo", "Model: dreamshaper_8").replace(
        "a lighthouse", "<lora:ink, old:0.7> a lighthouse"
    )
    upload = await ada.upload("other.png", by_a1111(text))
    answer = await answer_to(await ada.command(general, "info", file=upload))
    fields = {field["name"]: field["value"] for field in answer["embeds"][0]["fields"]}
    assert fields["Missing here"].startswith("dreamshaper\\_8 (model; nearest: demo")
    assert "ink, old (LoRA; nearest: " in fields["Missing here"]
    refused = await answer_to(await ada.click(answer, AGAIN))
    assert "dreamshaper\\_8, ink, old" in refused["content"]
    assert refused["flags"] & EPHEMERAL
    # and what was asked for can be changed
    act = await ada.click(refused, "Edit and try again")
    values = await shown(act)
    assert "model: dreamshaper_8" in values["parameters"]
    lines = values["parameters"].replace("dreamshaper_8", "demo").split("\n")
    kept = "\n".join(line for line in lines if not line.startswith("lora:"))
    sent = await act.submit(**(values | {"parameters": kept}))
    await finished(ada, general, await sent.deferred())
    assert (await rig.job(1)).request.seed == 41


async def test_the_blocklist_and_the_place_hold_for_what_a_file_says(
    rig: Rig, ada: Person, general: str
) -> None:
    guild = int((await ada.state())["guilds"][0]["id"])
    settings = rig.studio.store.settings
    await settings.change_guild(guild, blocklist=("stormy",))
    upload = await ada.upload("a.png", by_a1111(INFOTEXT))
    answer = await answer_to(await ada.command(general, "info", file=upload))
    refused = await answer_to(await ada.click(answer, AGAIN))
    assert "does not want something" in refused["content"]
    await settings.change_guild(guild, blocklist=(), channels=(1,))
    refused = await answer_to(await ada.click(answer, AGAIN))
    assert "Ask for pictures in" in refused["content"]
    await settings.change_guild(guild, channels=(), reserved={77: ("demo",)})
    refused = await answer_to(await ada.click(answer, AGAIN))
    assert "<@&77>" in refused["content"]
    # of a default preset the bounds hold, and its text is put around nothing
    listing = b'[[preset]]\nname = "night"\ntemplate = "{prompt} at night"\nmax_steps = 3\n'
    upload = await ada.upload("presets.toml", listing)
    await (await ada.command(general, "preset import", file=upload)).response()
    await settings.change_guild(guild, reserved={}, default_preset="night")
    refused = await answer_to(await ada.click(answer, AGAIN))
    assert "night" in refused["content"]
    assert "at most 3" in refused["content"]
    assert await rig.studio.store.jobs.newest_id() == 0


async def test_our_own_picture_is_read_again(rig: Rig, ada: Person, general: str) -> None:
    act = await ada.command(general, "imagine", prompt="灯塔", seed=7, width=64, height=64)
    message = await finished(ada, general, await act.deferred())
    _, content = await rig.control.get(message["attachments"][0]["url"])
    upload = await ada.upload("again.png", content)
    answer = await answer_to(await ada.command(general, "info", file=upload))
    act = await ada.click(answer, DRAW)
    sent = await act.submit(**await shown(act))
    await finished(ada, general, await sent.deferred())
    first, second = await rig.job(1), await rig.job(2)
    assert second.request == first.request


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("cat.png", png(), "carries no generation data"),
        ("cat.jpg", encoded(drawn(), "JPEG"), "carries no generation data"),
        ("cat.bmp", encoded(drawn(), "BMP"), "is no PNG, JPEG, WebP or AVIF"),
        ("empty.png", by_a1111("", prompt=json.dumps({"3": {}}), workflow="{}"), "nothing draws"),
        ("deep.png", by_a1111("", prompt='{"a":' + "[" * 50_000), "damaged"),
        ("bomb.png", by_a1111("a" * 30_000), "too long"),
        (
            "broken.png",
            with_chunks(png(), chunk(b"zTXt", b"parameters\0\0nothing packed")),
            "damaged",
        ),
        ("heavy.png", png() + bytes(2 * 2**20), "at most 1 MiB"),
    ],
)
async def test_what_can_t_be_read_is_said_in_words(
    rig: Rig, ada: Person, general: str, name: str, data: bytes, said: str
) -> None:
    upload = await ada.upload(name, data)
    answer = await answer_to(await ada.command(general, "info", file=upload))
    assert said in answer["content"]
    assert name in answer["content"]
    assert answer["components"] == []


async def test_a_message_without_a_picture(rig: Rig, ada: Person, general: str) -> None:
    posted = await ada.say(general, "hello")
    answer = await answer_to(await ada.use_on_message("Parameters", posted))
    assert "no picture" in answer["content"]


async def test_long_data_come_as_a_file(rig: Rig, ada: Person, general: str) -> None:
    text = INFOTEXT.replace("a lighthouse", "a lighthouse" + ", waves" * 700)
    upload = await ada.upload("long.png", by_a1111(text))
    answer = await answer_to(await ada.command(general, "info", file=upload))
    assert "the rest is in the file" in answer["content"]
    _, content = await rig.control.get(answer["attachments"][0]["url"])
    assert content.decode() == text


async def test_a_value_that_can_t_be_read_is_corrected_in_the_dialog(
    rig: Rig, ada: Person, general: str
) -> None:
    text = INFOTEXT.replace("Size: 64x128", "Size: large")
    upload = await ada.upload("odd.png", by_a1111(text))
    answer = await answer_to(await ada.command(general, "info", file=upload))
    assert text in answer["content"]
    assert "“Size: large”" in answer["content"]
    act = await ada.click(answer, DRAW)
    values = await shown(act)
    assert values["prompt"] == text
    sent = await act.submit(**(values | {"prompt": INFOTEXT}))
    await finished(ada, general, await sent.deferred())
    assert (await rig.job(1)).request.height == 128


async def test_code_in_the_data_stays_in_its_block(rig: Rig, ada: Person, general: str) -> None:
    upload = await ada.upload("code.png", by_a1111(f"``` @everyone\n{INFOTEXT}"))
    answer = await answer_to(await ada.command(general, "info", file=upload))
    assert answer["content"].count("```") == 2


async def test_a_start_picture_still_loses_its_text(rig: Rig, ada: Person, general: str) -> None:
    """Data are read where somebody asks for it, and nowhere else."""
    upload = await ada.upload("start.png", by_a1111(INFOTEXT))
    message = await refused(ada, general, prompt="a fox", model="nope", init_picture=upload)
    assert "no model" in message["content"]
    assert "lighthouse" not in message["content"]


async def test_what_a_deleted_request_left_is_not_read(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    act = await ada.command(general, "imagine", prompt="a secret")
    message = await finished(ada, general, await act.deferred())
    await rig.until(lambda job: job.delivered_at is not None)
    await rig.studio.store.personal.delete_job(1)
    answer = await answer_to(await bo.use_on_message("Parameters", message))
    assert "no picture that this bot drew" in answer["content"]


async def test_data_that_leave_no_room_for_what_is_said_of_them_come_as_a_file(
    rig: Rig, ada: Person, general: str
) -> None:
    unknown = ", ".join(f"a{'_' * 45}{number:02}: x" for number in range(11))
    text = f"a fox\nSteps: 4, Sampler: DPM++ 2M, {unknown}"
    text = text.replace("a fox", "a fox " + "x" * (1494 - len(text)))
    assert len(text) <= 1500
    posted = await ada.say_with_file(general, "many.png", by_a1111(text))
    answer = await answer_to(await ada.use_on_message("Parameters", posted))
    assert [file["filename"] for file in answer["attachments"]] == ["parameters.txt"]
    await shown(await ada.click(answer, DRAW))


async def test_our_own_picture_is_drawn_again_to_the_last_option(
    rig: Rig, ada: Person, bo: Person, general: str
) -> None:
    start = await ada.upload("start.png", png())
    act = await ada.command(
        general, "imagine", prompt="灯塔", seed=7, width=64, height=64, init_picture=start, count=2
    )
    message = await finished(ada, general, await act.deferred())
    _, content = await rig.control.get(message["attachments"][1]["url"])
    upload = await ada.upload("again.png", content)
    answer = await answer_to(await ada.command(general, "info", file=upload))
    assert answer["embeds"][0]["author"]["name"] == "Made with Darkroom"
    await finished(ada, general, await (await ada.click(answer, AGAIN)).deferred())
    first, second = await rig.job(1), await rig.job(2)
    assert second.request == first.request
    assert second.parent is None
    # who only has the picture has no right to what it was drawn over
    posted = await ada.say_with_file(general, "again.png", content)
    answer = await answer_to(await bo.use_on_message("Parameters", posted))
    refused = await answer_to(await bo.click(answer, AGAIN))
    assert "not yours" in refused["content"]
    assert await rig.studio.store.jobs.newest_id() == 2
