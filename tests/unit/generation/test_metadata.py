"""What is written into a picture is what other programs read."""

import io

import msgspec
import pytest
from PIL import Image

from generation import metadata
from tests.fixtures.requests import a_request

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
    assert 'ControlNet 0: "Model: edges, Weight: 1"' in text


@pytest.mark.parametrize("prompt", ["a cat", "灯台 💡", "naïve café"])
def test_the_file_carries_both_chunks_and_the_same_pixels(prompt: str) -> None:
    original, written = about(prompt=prompt), metadata.embed(png(), about(prompt=prompt))
    with Image.open(io.BytesIO(written)) as picture, Image.open(io.BytesIO(png())) as before:
        assert picture.info["parameters"] == metadata.infotext(original)
        again = msgspec.json.decode(str(picture.info["darkroom"]), type=metadata.About)
        assert picture.tobytes() == before.tobytes()
    assert again == original


def test_what_is_no_png_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a PNG"):
        metadata.embed(b"JFIF", about())
