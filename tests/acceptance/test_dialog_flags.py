"""Every flag of a prompt in every dialog that has one: it means what it means after `/imagine`."""

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from generation.job import Job
from generation.prompt_flags import OTHERS
from generation.request import HIRES
from generation.request_options import options
from playground.person import Act, Person, fields_of
from tests.acceptance.conftest import Rig, png, press
from tests.acceptance.test_control_pictures import CHOSEN
from tests.acceptance.test_control_pictures import config as config
from tests.acceptance.test_retry import RETRY, answer_to, refused
from tests.acceptance.test_servers import preset_of, save_preset
from tests.unit.generation.test_catalog import write_folder

FLAGS: dict[str, tuple[str, Any]] = {
    "aspect": ("--aspect 1:1", {"width": 128, "height": 128}),
    "clip_skip": ("--clip_skip 2", {"clip_skip": 2}),
    "conventions": ("--conventions comfyui", {"conventions": "comfyui"}),
    "cutout": ("--cutout", "Nothing here removes backgrounds yet"),
    "faces": ("--faces", "Nothing here restores faces yet"),
    "face_model": ("--face-model x", "only makes sense together with faces"),
    "face_strength": ("--face-strength 0.5", "only makes sense together with faces"),
    "face_fidelity": ("--face-fidelity 0.5", "only makes sense together with faces"),
    "format": ("--format webp", {"format": "webp"}),
    "quality": ("--format webp --quality 80", {"quality": 80}),
    "ip_adapter": ("--ip-adapter x", "only makes sense together with image_prompt"),
    "image_weight": ("--image-weight 0.5", "only makes sense together with image_prompt"),
    "image_guidance": ("--image-guidance 2", {"image_guidance_scale": 2.0}),
    "control_scale": ("--control_scale 0.5", {"control": ("edges", 0.5)}),
    "controlnet": ("--controlnet edges", {"control": ("edges", 1.0)}),
    "show_control": ("--show-control --controlnet edges", {"show_control": "on"}),
    "count": ("--count 2", {"count": 2}),
    "denoising": ("--denoising 0.5", {"denoising_strength": 0.5}),
    "guidance": ("--guidance 3.5", {"guidance_scale": 3.5}),
    "height": ("--height 64", {"height": 64}),
    "hires": ("--hires 1.5", {"hires": "1.5"}),
    "hires_upscaler": ("--hires 2 --hires-upscaler nearest", {"hires_upscaler": "Nearest"}),
    "hires_denoising": ("--hires 2 --hires-denoising 0.5", {"hires_denoising": 0.5}),
    "hires_steps": ("--hires 2 --hires-steps 3", {"hires_steps": 3}),
    "hires_guidance": ("--hires 2 --hires-cfg 2", {"hires_guidance": 2}),
    "hires_sampler": ("--hires 2 --hires-sampler euler", {"hires_sampler": "Euler"}),
    "hires_schedule": ("--hires 2 --hires-schedule karras", {"hires_schedule": "Karras"}),
    "hires_prompt": ("--hires 2 --hires-prompt fur", {"hires_prompt": "fur"}),
    "hires_negative_prompt": (
        "--hires 2 --hires-negative-prompt fog",
        {"hires_negative_prompt": "fog"},
    ),
    "hires_model": ("--hires 2 --hires-checkpoint second", {"hires_model": "second"}),
    "hires_tile": ("--hires 2 --hires-tile 64", {"hires_tile": 64}),
    "mode": ("--mode draft", {"mode": "draft"}),
    "lora": ("--lora {lora}", {"weights": [1.0]}),
    "lora_weight": ("--lora {lora} --lora_weight 0.5", {"weights": [0.5]}),
    "mask_blur": ("--mask-blur 8", "only makes sense together with mask"),
    "mask_mode": ("--mask-mode not-masked", "only makes sense together with mask"),
    "masked_content": ("--masked-content fill", "only makes sense together with mask"),
    "inpaint_area": ("--inpaint-area only-masked", "only makes sense together with mask"),
    "differential": ("--differential", "only makes sense together with mask"),
    "mask_words": ("--mask-words hat", "only makes sense together with init_picture"),
    "mask_threshold": ("--mask-threshold 0.5", "only makes sense together with mask_words"),
    "mask_growth": ("--mask-growth 8", "only makes sense together with mask_words"),
    "mask_model": ("--mask-model x", "only makes sense together with mask_words"),
    "mask_padding": ("--mask-padding 16", "only makes sense together with mask"),
    "model": ("--model demo", {"model": "demo"}),
    "negative_prompt": ("--no fog", {"negative_prompt": "fog"}),
    "preset": ("--preset night", {"preset": "night", "steps": 2, "prompt": "a dog at night"}),
    "private": ("--private", {"private": True}),
    "refiner": ("--refiner second:0.5", {"refiner": "second", "refiner_switch": 0.5}),
    "refiner_switch": ("--refiner second --refiner-switch 0.3", {"refiner_switch": 0.3}),
    "sampler": ("--sampler Euler", {"sampler": "Euler"}),
    "schedule": ("--schedule karras", {"schedule": "Karras"}),
    "seed": ("--seed 5", {"seed": 5}),
    "steps": ("--steps 3", {"steps": 3}),
    "vae": ("--vae nothing", "VAE"),
    "variation_seed": ("--variation_seed 7 --variation_strength 0.2", {"variation_seed": 7}),
    "variation_strength": ("--variation_strength 0.3", {"variation_strength": 0.3}),
    "width": ("--width 64", {"width": 64}),
    "bounds": ("--preset night --steps 9", "at most 5"),
    "roles": ("--preset oils", "<@&7>"),
}
"""What is written, and what the request has then, or the refusal says."""

ELSE: dict[tuple[str, str], str] = {
    ("imagine", "denoising"): "init_picture",
    ("imagine", "controlnet"): "control",
    ("imagine", "control_scale"): "control",
    ("imagine", "show_control"): "control",
    ("control", "denoising"): "init_picture",
    ("start", "show_control"): "ControlNet",
    ("start", "controlnet"): "ControlNet",
    ("start", "mask_words"): "Nothing here finds things in pictures by words yet",
    **{("start", name): "A hires pass is for what is drawn from words alone" for name in HIRES},
    ("start", "control_scale"): "ControlNet",
}
"""What can't be had there, as after `/imagine`."""

NIGHT = """[[preset]]
name = "night"
template = "{prompt} at night"
steps = 2
max_steps = 5
"""
OILS = '[[preset]]\nname = "oils"\nroles = [7]\n'


Open = Callable[[], Awaitable[Act]]
"""Opens a dialog anew."""


async def opener(rig: Rig, ada: Person, general: str, dialog: str) -> tuple[Open, dict[str, Any]]:
    """What opens a dialog, and what is entered beside the prompt."""
    posted = await ada.say_with_file(general, "sketch.png", png())

    async def control() -> Act:
        return await ada.use_on_message("Use as control picture", posted)

    chosen = {"controlnet": ["edges"], "control_scale": "1", **CHOSEN}
    if dialog == "control":
        return control, chosen
    if dialog == "imagine":
        message = await refused(ada, general, prompt="a fox", model="nope")
        return (lambda: ada.click(message, RETRY)), {"negative_prompt": "", "parameters": ""}
    if dialog == "retry":
        rig.engine.failures.append("out_of_memory")
    act = await (await control()).submit(prompt="a castle", **chosen)
    shown = await act.deferred()
    await rig.until(lambda job: job.delivered_at is not None)
    message = await ada.message(general, shown["id"])
    label = {"retry": RETRY, "edit": "Edit", "start": "Start from it"}[dialog]
    act = await press(ada, message, label)
    fields = fields_of((await act.modal())["components"])
    values = {field["custom_id"]: field.get("value", "") for field in fields}
    return (lambda: press(ada, message, label)), {**values, "prompt": ""}


def values_of(job: Job, names: Iterable[str]) -> dict[str, Any]:
    request = job.request
    others = {
        "preset": preset_of(job),
        "private": job.origin.private,
        "control": next(((use.name, use.scale) for use in request.controls), None),
        "weights": [use.weight for use in request.loras],
    }
    return {n: others[n] if n in others else getattr(request, n) for n in names}


@pytest.mark.slow
@pytest.mark.parametrize(
    "dialog",
    [
        "imagine",
        "edit",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("control", "start", "retry")),
    ],
)
async def test_every_flag_means_what_it_means_in_a_command(
    rig: Rig, ada: Person, general: str, tmp_path: Path, dialog: str
) -> None:
    write_folder(tmp_path / "models" / "second")
    await rig.studio.catalog.scan()
    named = {name for name, option in options().items() if not option.picture} | {*OTHERS}
    assert {*FLAGS} >= named - {"prompt"}
    await save_preset(ada, general, "night", NIGHT)
    await save_preset(ada, general, "oils", OILS)
    lora = rig.studio.catalog.loras[0].name
    open_, entered = await opener(rig, ada, general, dialog)
    number = 1 if "negative_prompt" not in entered or dialog == "imagine" else 2
    for name, (flag, wanted) in FLAGS.items():
        said = ELSE.get((dialog, name), wanted)
        act = await open_()
        await act.modal()
        sent = await act.submit(**{**entered, "prompt": "a dog " + flag.format(lora=lora)})
        if isinstance(said, str):
            assert said in (await answer_to(sent))["content"], (dialog, name)
            continue
        await sent.deferred()
        job = await rig.until(lambda job: job.ended, number)
        assert values_of(job, said) == said, name
        assert job.request.prompt == said.get("prompt", "a dog")
        number += 1
