"""What is written into a picture is what other programs read."""

import io
from typing import Any

import msgspec
import pytest
from hypothesis import assume, example, given
from PIL import Image

from generation import lora_uses, metadata, samplers
from generation.control_requests import several
from generation.control_uses import written
from generation.face_words import architecture
from generation.metadata import NO_VAE, read_infotext
from generation.prompts import take_tags
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_options import exact
from generation.samplers import SAMPLERS, schedule_of
from tests.fixtures.requests import a_request
from tests.unit.generation import texts

HASHES = {"checkpoint:demo": "a1" * 32, "lora:pixel": "b2" * 32}


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(file, "PNG")
    return file.getvalue()


def about(**changes: object) -> metadata.About:
    request = a_request(**changes)
    return metadata.About(request=request, index=1, seed=8, hashes=HASHES, versions={"torch": "2"})


def test_infotext_is_written_as_a1111_writes_it() -> None:
    text = metadata.infotext(
        about(
            negative_prompt="fog",
            sampler="DPM++ 2M Karras",
            loras=[{"name": "pixel", "weight": 0.5}],
            clip_skip=2,
        )
    )
    assert text == (
        "a lighthouse at dusk <lora:pixel:0.5>\n"
        "Negative prompt: fog\n"
        "Steps: 4, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 3.5, Seed: 8, "
        "Size: 128x128, Model hash: a1a1a1a1a1, Model: demo, Clip skip: 2, "
        'Lora hashes: "pixel: b2b2b2b2b2b2", Version: darkroom'
    )


@pytest.mark.parametrize("name", ["[]", "[]0", "[] 0.5", "[{}]x", "{}", "{}y", '{"a": 1}', '[{"a"'])
@pytest.mark.parametrize("field", ["model", "vae"])
def test_a_name_that_begins_like_json_is_read_as_it_was_written(field: str, name: str) -> None:
    found = read_infotext(metadata.infotext(about(**{field: name})))
    assert found is not None
    assert found.given[field] == name


def test_a_variation_and_a_vae_are_written_as_a1111_writes_them() -> None:
    request = a_request(variation_seed=20, variation_strength=0.25, vae="fine", count=2)
    hashes = HASHES | {"vae:fine": "c3" * 32}
    text = metadata.infotext(
        metadata.About(request=request, index=1, seed=7, variation_seed=21, hashes=hashes)
    )
    assert (
        "Seed: 7, Size: 128x128, Model hash: a1a1a1a1a1, Model: demo, VAE hash: c3c3c3c3c3, "
        "VAE: fine, Variation seed: 21, Variation seed strength: 0.25, Version"
    ) in text


def test_a_variation_of_a_variation_names_what_it_comes_from() -> None:
    steps = [{"seed": 9, "strength": 0.45}, {"seed": 10, "strength": 0.15}]
    request = a_request(variation_seed=20, variation_strength=0.15, lineage=steps)
    text = metadata.infotext(
        metadata.About(request=request, index=0, seed=7, variation_seed=20, hashes={})
    )
    assert 'Variation seed strength: 0.15, Variation of: "9: 0.45, 10: 0.15"' in text


def test_a_value_with_a_comma_is_quoted() -> None:
    text = metadata.infotext(about(controls=[{"name": "edges", "picture": "0" * 64}]))
    assert (
        'ControlNet 0: "Module: none, Model: edges, Weight: 1, Resize Mode: Crop and Resize,'
        " Guidance Start: 0, Guidance End: 1, Pixel Perfect: False, Control Mode: Balanced"
    ) in text
    use = {"name": "union", "picture": "0" * 64, "kind": "depth", "end": 0.5}
    text = metadata.infotext(about(controls=[use]))
    assert "Guidance Start: 0, Guidance End: 0.5, " in text
    assert "Control Mode: Balanced, Union Control Type: depth" in text


@pytest.mark.parametrize("prompt", ["a cat", "灯台 💡", "naïve café"])
def test_the_file_carries_both_chunks_and_the_same_pixels(prompt: str) -> None:
    original, written = about(prompt=prompt), metadata.embed(png(), about(prompt=prompt))
    with Image.open(io.BytesIO(written)) as picture, Image.open(io.BytesIO(png())) as before:
        assert picture.info["parameters"] == metadata.infotext(original)
        again = msgspec.json.decode(str(picture.info["darkroom"]), type=metadata.About)
        assert picture.tobytes() == before.tobytes()
    assert again == original


def of(request: GenerationRequest, **hashes: str) -> str:
    found = metadata.About(
        request=request, index=0, seed=request.seed, variation_seed=request.variation_seed,
        hashes=hashes,
    )  # fmt: skip
    return metadata.infotext(found)


def in_order(net: str) -> tuple[str, ...]:
    """What stands behind a name, whatever its order."""
    return tuple(sorted(net.split(":")))


@given(texts.requests())
@example(a_request(prompt=" a ", negative_prompt=" b\n", model="x: 1, Seed: 3", vae='"q"'))
@example(a_request(prompt="a Negative prompt: b", loras=[{"name": "a:2", "weight": 26.289032 / 8}]))
@example(a_request(prompt="Steps: 3, Seed: 4, Size: 1x1", guidance_scale=26.289032, vae="{a"))
def test_what_is_written_is_read_the_same(request: GenerationRequest) -> None:
    # a prompt that holds generation data itself is taken apart before it is a request
    assume("\n" + metadata.NEGATIVE not in "\n" + request.prompt)
    assume("<" not in request.prompt)
    for name in (request.vae, request.refiner):
        assume((name or "").strip().casefold() not in NO_VAE)
    read = read_infotext(of(request))
    assert read is not None
    prompt, tags = take_tags(read.prompt)
    assert prompt == request.prompt
    read_uses = [lora_uses.weighed(tag.parts[0], tag.parts[1:], str(tag)) for tag in tags]
    assert tuple(read_uses) == request.loras
    expected = {
        "negative_prompt": request.negative_prompt,
        "steps": request.steps,
        "sampler": request.sampler,
        "schedule": schedule_of(request),
        "guidance": request.guidance_scale,
        "seed": request.seed,
        "width": request.width,
        "height": request.height,
        "model": request.model,
        "vae": request.vae,
        "refiner": request.refiner,
        "refiner_switch": request.refiner_switch if request.refiner is not None else None,
        "variation_seed": request.variation_seed,
        "clip_skip": request.clip_skip if request.clip_skip > 1 else None,
    }
    if request.controls:
        nets = tuple(f"{use.name}:{exact(use.scale)}{written(use)}" for use in request.controls)
        assume(all(use.name != "None" for use in request.controls))
        assert list(map(in_order, several(read.given.pop("controlnet")))) == [
            in_order(net) for net in nets
        ]
    if request.faces != "none":
        expected |= {"faces": request.faces, "face_model": request.face_model}
        if request.face_strength != 1:
            expected["face_strength"] = request.face_strength
        if architecture(request.face_model or "") == "CodeFormer" or request.face_fidelity != 0.5:
            expected["face_fidelity"] = request.face_fidelity
        expected["face_model"] = request.face_model
    if request.variation_seed is not None:
        expected["variation_strength"] = request.variation_strength
    assert read.given == {
        name: value for name, value in expected.items() if value not in (None, "")
    }


@pytest.mark.parametrize("scale", [0.0, 1.5, 2.25])
def test_an_edit_is_told_by_its_image_scale_as_a1111_writes_it(scale: float) -> None:
    edit = a_request(init_picture="0" * 64, denoising_strength=1.0, image_guidance_scale=scale)
    assert f"CFG scale: 3.5, Image CFG scale: {scale:g}, Seed: " in of(edit)
    assert "Image CFG scale" not in of(edit.with_(image_guidance_scale=None))
    read = read_infotext(of(edit))
    assert read is not None
    assert read.given["image_guidance"] == scale


def test_a_mask_is_told_by_its_blur_as_a1111_writes_it() -> None:
    masked = a_request(init_picture="0" * 64, mask="1" * 64, mask_blur=0, denoising_strength=1.0)
    assert "Denoising strength: 1, Mask blur: 0, " in of(masked)
    assert "Mask blur" not in of(masked.with_(mask=None))
    read = read_infotext(of(masked))
    assert read is not None
    assert read.given["mask_blur"] == 0
    for key in ("Mask mode", "Masked content", "Inpaint area", "Masked area padding"):
        assert key not in of(masked)
    told = {
        "mask_mode": "not masked",
        "masked_content": "latent nothing",
        "inpaint_area": "only masked",
        "mask_padding": 48,
        "differential": "on",
    }
    written = of(masked.with_(**told))
    assert (
        "Mask blur: 0, Mask mode: Inpaint not masked, Masked content: latent nothing, "
        "Inpaint area: Only masked, Masked area padding: 48, Differential diffusion: on, "
    ) in written
    read = read_infotext(written)
    assert read is not None
    assert read.given.items() >= told.items()
    assert read.ignored == ("Version",)


@pytest.mark.parametrize(
    ("parameters", "given"),
    [
        ("Mask mode: Inpaint masked", {"mask_mode": "masked"}),
        ("Masked content: original", {"masked_content": "original"}),
        ("Inpaint area: Whole picture", {"inpaint_area": "whole picture"}),
        ("Masked content: Latent noise", {"masked_content": "latent noise"}),
    ],
)
def test_a1111s_words_of_a_mask_are_read(parameters: str, given: dict[str, str]) -> None:
    read = read_infotext(f"a cat\nSteps: 4, Sampler: Euler, {parameters}")
    assert read is not None
    assert read.given.items() >= given.items()


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_a_schedule_is_never_one_that_a1111_chooses_itself(sampler: str) -> None:
    last = of(a_request(sampler=sampler)).splitlines()[-1]
    karras = sampler.endswith(" Karras")
    assert f"Sampler: {sampler.removesuffix(' Karras')}, " in last
    assert f"Schedule type: {'Karras' if karras else 'Uniform'}, " in last


@pytest.mark.parametrize(
    ("parameters", "sampler"),
    [
        # before 1.9 the name says it, and says nothing of what is uniform
        ("Sampler: DPM++ 2M Karras", ("DPM++ 2M", "Karras")),
        ("Sampler: DPM++ 2M", ("DPM++ 2M", "Uniform")),
        ("Sampler: DPM++ 2M, Schedule type: Karras", ("DPM++ 2M", "Karras")),
        ("Sampler: DPM++ 2M, Schedule type: Automatic", ("DPM++ 2M", "Karras")),
        ("Sampler: DPM++ SDE, Schedule type: Automatic", ("DPM++ SDE", "Karras")),
        ("Sampler: DPM2, Schedule type: Automatic", ("DPM2", "Karras")),
        ("Sampler: DPM++ 2M SDE, Schedule type: Automatic", ("DPM++ 2M SDE", "Exponential")),
        ("Sampler: DPM++ 2M SDE, Schedule type: Exponential", ("DPM++ 2M SDE", "Exponential")),
        ("Sampler: Euler a, Schedule type: Automatic", ("Euler a", "Uniform")),
        ("Sampler: Euler, Schedule type: Uniform", ("Euler", "Uniform")),
        (
            "Sampler: DPM++ 2M, Schedule type: Automatic, Version: darkroom 0.1.0",
            ("DPM++ 2M", "Uniform"),
        ),
    ],
)
def test_schedules_are_read_as_a1111_means_them(parameters: str, sampler: tuple[str, str]) -> None:
    read = read_infotext(f"a cat\nSteps: 20, {parameters}")
    assert read is not None
    name, told = samplers.read(str(read.given["sampler"])) or ("", None)
    schedule = str(read.given.get("schedule", told))
    if schedule == samplers.AUTOMATIC:
        schedule = samplers.SAMPLERS[name].automatic
    assert (name, schedule) == sampler


def test_what_others_write_is_read() -> None:
    read = read_infotext(
        "masterpiece, (cat:1.2) <lora:pixel:0.7>\n\n"
        "Negative prompt: fog, (rain:1.3)\n"
        "Steps: 25, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 1234567890, Size: 512x768, "
        "Model hash: 6ce0161689, Model: v1-5, VAE: Automatic, Denoising strength: 0.5, "
        'Clip skip: 2, ENSD: 31337, Hires upscale: 2, Hashes: {"vae": "735e", "model": "6ce0"}, '
        'ADetailer prompt: "a, b: \\"c\\"", Lora hashes: "pixel: aa, b: cc", TI hashes: x, lone, '
        "Version: v1.10.1"
    )
    assert read is not None
    assert read.prompt == "masterpiece, (cat:1.2) <lora:pixel:0.7>\n"
    assert read.given == {
        "negative_prompt": "fog, (rain:1.3)",
        "steps": 25,
        "sampler": "DPM++ 2M Karras",
        "guidance": 7.5,
        "seed": 1234567890,
        "width": 512,
        "height": 768,
        "model": "v1-5",
        "hires": "2",
        "hires_denoising": 0.5,
        "clip_skip": 2,
    }
    assert {"Hashes", "Lora hashes", "ENSD", "ADetailer prompt"} <= set(read.ignored)


@pytest.mark.parametrize(
    "text",
    [
        "a cat",
        "",
        "style: bright, mood: calm, light: soft",
        "a house\nsize: big, model: small, seed: none",
        "Steps: to the sea, a lighthouse",
        "a cat, negative prompt: fog",
        "my Negative prompts: none",
    ],
)
def test_a_plain_prompt_is_no_generation_data(text: str) -> None:
    assert read_infotext(text) is None


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("Steps: many, Seed: 5", "not_a_number"),
        ("Steps: 20, Seed: 5.5", "not_a_whole_number"),
        ("Steps: 20, Size: large", "infotext_value"),
        ("Steps: 20, Seed: " + "1" * 4301, "number_too_long"),
        ("Steps: 20, Size: " + "1" * 4301 + "x1", "infotext_value"),
        ("Steps: 20, Seed: 1, Model: " + "x" * 20_000, "too_long"),
    ],
)
def test_values_that_cannot_be_read_are_refused(parameters: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        read_infotext(f"a cat\n{parameters}")
    assert refused.value.code == code


@pytest.mark.parametrize(
    "text",
    [
        "Steps: 1, Seed: 1, " + '"a: ' * 4000,
        "Steps: 1, Seed: 1, " + "a: {" * 4000,
        "Steps: 1, Seed: 1, a: " + '"\\' * 8000,
        "Steps: 1, Seed: 1, a: " + "[" * 15_000,
        "Steps: 1, " * 1900,
        "Negative prompt:" * 1200,
        " Steps: 1," * 1900 + " x",
        "Steps:" + " " * 19_000,
        "a" * 19_000 + ":",
    ],
)
def test_hostile_generation_data_are_read_in_no_time(text: str) -> None:
    for hostile in (text, f"a\n{text}"):
        read_infotext(hostile)


def test_loras_are_listed_by_the_hash_that_others_know() -> None:
    request = a_request(loras=[{"name": "pixel"}])
    text = of(request, **{"lora:pixel": "f1" * 32, "tensors:pixel": "ab" * 32})
    assert 'Lora hashes: "pixel: abababababab"' in text


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("my, lora", "my lora"),
        ("a:b", "ab"),
        ('say "x"', 'say \\"x\\"'),
        ("two\nlines", "two lines"),
        (" edge ", "edge"),
    ],
)
def test_a_name_in_a_list_has_no_sign_that_splits_it(name: str, listed: str) -> None:
    text = of(a_request(loras=[{"name": name}]), **{f"tensors:{name}": "ab" * 32})
    last = text.split("\n")[-1]
    assert f'Lora hashes: "{listed}: abababababab"' in last
    assert "\r" not in last


@pytest.mark.parametrize(
    ("faces", "told"),
    [
        ({"face_model": "CodeFormer"}, "Face restoration: CodeFormer, CodeFormer weight: 0.5, "),
        (
            {"face_model": "codeformer-v0.1.0", "face_fidelity": 0.2, "face_strength": 0.75},
            "Face restoration: CodeFormer, Face restoration model: codeformer-v0.1.0, "
            "Face restoration strength: 0.75, CodeFormer weight: 0.2, ",
        ),
        (
            {"face_model": "GFPGANv1.4", "faces": "largest"},
            "Face restoration: GFPGAN, Face restoration model: GFPGANv1.4, "
            "Face restoration faces: largest, ",
        ),
    ],
)
def test_restored_faces_are_told_as_a1111_tells_them(faces: dict[str, Any], told: str) -> None:
    request = a_request(**{"faces": "all", **faces})
    assert told in of(request)
    read = read_infotext(of(request))
    assert read is not None
    given = {n: v for n, v in read.given.items() if n.startswith("face")}
    usual = {"faces": "all", **({"face_fidelity": 0.5} if "CodeFormer" in told else {})}
    assert given == usual | faces
    assert not {key for key in read.ignored if "ace" in key}


def test_faces_of_a_finished_picture_are_told_as_of_a1111s_extras() -> None:
    made = {"picture": "0" * 64, "upscaler": "Lanczos", "faces": {"model": "codeformer-v0.1.0"}}
    sizes = {"width": 256, "height": 256, "from_width": 128, "from_height": 128}
    text = of(a_request(enlargement=made | sizes))
    assert "CodeFormer visibility: 1, " in text
    assert "CodeFormer weight: 0.5" in text
    assert "Face restoration" not in text
    drawn = of(a_request(faces="all", face_model="GFPGANv1.4", enlargement=made | sizes))
    assert "Face restoration: GFPGAN, Face restoration model: GFPGANv1.4, Postprocess" in drawn


def test_without_a1111s_key_nothing_is_said_of_faces() -> None:
    read = read_infotext("a\nSteps: 4, Seed: 3, CodeFormer weight: 0.3")
    assert read is not None
    assert "face_fidelity" not in read.given
