"""What of a file's data is here, found by hash and name; and the request that it means."""

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from generation.catalog import Catalog
from generation.info import asking, resolving
from generation.info.file_hashes import FileHashes
from generation.info.found import Info, NamedFile
from generation.info.resolving import NotHere, Resolved
from generation.models import ModelFile, ModelKind
from generation.refusal import Refused
from generation.request_parts import LoraUse
from generation.rules import Rules
from tests.unit.generation.catalogs import a_catalog, a_model

RULES = Rules(default_model="demo")
CHECKPOINT, LORA = ModelKind.CHECKPOINT, ModelKind.LORA
WEIGHTS = b"weights"
HEADER = b"\x02\0\0\0\0\0\0\0{}"


@pytest.fixture
def models(tmp_path: Path) -> list[ModelFile]:
    found = [
        a_model("demo"),
        a_model("Dream Shaper"),
        a_model("pixel", kind=LORA),
        a_model("edges", kind=ModelKind.CONTROLNET),
        a_model("fine", kind=ModelKind.VAE),
        a_model("easynegative", kind=ModelKind.EMBEDDING),
    ]
    real = tmp_path / "pixel.safetensors"
    real.write_bytes(HEADER + WEIGHTS)
    old = tmp_path / "demo.safetensors"
    old.write_bytes(bytes(0x100000) + b"x" * 0x10000 + b"more")
    paths = {"pixel": real, "demo": old}
    return [
        msgspec.structs.replace(one, path=paths.get(one.name, tmp_path / one.name), size=9)
        for one in found
    ]


@pytest.fixture
def catalog(models: list[ModelFile]) -> Catalog:
    return a_catalog(*models)


def resolve(info: Info, catalog: Catalog, cache: Path) -> Resolved:
    return resolving.resolve(info, catalog, FileHashes(cache))


def of(kind: ModelKind, name: str, digits: str = "") -> Info:
    named = NamedFile(kind, name, digits)
    return Info(program="x", prompt="a cat", files={"model": named})


@pytest.mark.parametrize(
    "name",
    [
        *("demo", "DEMO", "demo.safetensors", "demo.ckpt", "sd15/demo.safetensors"),
        *("SD 1.5\\demo.safetensors", "/abs/models/demo.pt"),
    ],
)
def test_a_name_is_found_whatever_its_folder_and_ending(
    catalog: Catalog, tmp_path: Path, name: str
) -> None:
    assert resolve(of(CHECKPOINT, name), catalog, tmp_path).files == {"model": "demo"}


def test_a_hash_goes_before_a_name(
    models: list[ModelFile], catalog: Catalog, tmp_path: Path
) -> None:
    """What the worker has hashed is known; small files are hashed where the name is not here."""
    pixel = next(one for one in models if one.name == "pixel").path
    stat = pixel.stat()
    key = f"{pixel.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    kept = {key: "ab" * 32, f"{key}|tensors": "cd" * 32}
    tensors = hashlib.sha256(WEIGHTS).hexdigest()
    for digits in (tensors[:12], f"0x{tensors}", tensors[:10].upper()):
        info = Info(
            program="x", prompt="a", loras=(LoraUse("gone", 0.5),), lora_hashes={"gone": digits}
        )
        assert resolve(info, catalog, tmp_path).loras == {"gone": LoraUse("pixel", 0.5)}
    (tmp_path / "hashes.json").write_text(json.dumps(kept))
    for digits in ("ab" * 5, "cd" * 6):
        named = Info(
            program="x", prompt="a", loras=(LoraUse("gone"),), lora_hashes={"gone": digits}
        )
        assert resolve(named, catalog, tmp_path).loras == {"gone": LoraUse("pixel")}
    # and before A1111 1.0 a part of the file was hashed
    old = hashlib.sha256(b"x" * 0x10000).hexdigest()[:8]
    assert resolve(of(CHECKPOINT, "Dream Shaper", old), catalog, tmp_path).files == {
        "model": "demo"
    }
    assert resolve(of(CHECKPOINT, "", old), catalog, tmp_path).files == {"model": "demo"}


@pytest.mark.parametrize("digits", ["", "0123456789", "blake3:0123", "x" * 64, "ab", "a" * 100])
def test_a_hash_of_another_file_leaves_the_name(
    catalog: Catalog, tmp_path: Path, digits: str
) -> None:
    assert resolve(of(CHECKPOINT, "demo", digits), catalog, tmp_path).files == {"model": "demo"}


def test_what_is_not_here_is_named_with_the_nearest(catalog: Catalog, tmp_path: Path) -> None:
    info = Info(
        program="x",
        prompt="a",
        files={
            "model": NamedFile(CHECKPOINT, "dreamshaper_8.safetensors", "0123456789"),
            "vae": NamedFile(ModelKind.VAE, "", "0123456789"),
        },
        loras=(LoraUse("pixels"), LoraUse("pixel")),
        embeddings=(
            NamedFile(ModelKind.EMBEDDING, "EasyNegative"),
            NamedFile(ModelKind.EMBEDDING, "other"),
        ),
        beside=(NamedFile(ModelKind.CONTROLNET, "canny"), NamedFile(ModelKind.CONTROLNET, "edges")),
        given={"sampler": "DPM fast", "schedule": "bong_tangent"},
    )
    found = resolve(info, catalog, tmp_path)
    assert [(one.kind, one.name) for one in found.missing] == [
        ("checkpoint", "dreamshaper_8.safetensors"),
        ("vae", "0123456789"),
        ("lora", "pixels"),
        ("embedding", "other"),
        ("sampler", "DPM fast"),
        ("schedule", "bong_tangent"),
    ]
    assert found.missing[0].nearest[0] == "Dream Shaper"
    assert all(one.nearest for one in found.missing if one.kind != "vae")
    assert {one.kind for one in found.missing} <= set(resolving.KINDS)
    assert found.missing_beside == (NotHere("controlnet", "canny", nearest=("edges",)),)
    with pytest.raises(Refused) as refused:
        asking.request_of(info, found, catalog, RULES)
    assert refused.value.code == "info_missing"
    assert "dreamshaper_8.safetensors, 0123456789, pixels" in str(refused.value.params["names"])


def test_the_request_is_what_the_file_says_and_nothing_else(
    catalog: Catalog, tmp_path: Path
) -> None:
    info = Info(
        program="x",
        prompt="a {red|blue} cat --seed 9 __animal__ AND [a:b:3]",
        negative_prompt="{fog}",
        given={"steps": 7, "seed": 3, "guidance": 2.5, "sampler": "euler", "schedule": "karras"},
        files={"model": NamedFile(CHECKPOINT, "dream shaper")},
        loras=(LoraUse("Pixel", 0.5, 0.25),),
        conventions="comfyui",
    )
    request = asking.request_of(info, resolve(info, catalog, tmp_path), catalog, RULES)
    assert request.prompt == info.prompt
    assert request.negative_prompt == "{fog}"
    assert (request.template, request.negative_template) == (None, None)
    assert (request.sampler, request.schedule, request.conventions) == (
        *("Euler", "Karras"),
        "comfyui",
    )
    assert (request.steps, request.seed, request.guidance_scale, request.clip_skip) == (
        7,
        3,
        2.5,
        1,
    )
    assert request.loras == (LoraUse("pixel", 0.5, 0.25),)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"steps": 10_000}, "out_of_bounds"),
        ({"seed": 2**60}, "out_of_bounds_or_random"),
        ({"width": 100_000, "height": 64}, "out_of_bounds"),
        ({"guidance": 1e9}, "out_of_bounds"),
    ],
)
def test_numbers_out_of_bounds_are_refused(
    catalog: Catalog, tmp_path: Path, given: dict[str, int | float], code: str
) -> None:
    info = Info(program="x", prompt="a cat", given={**given})
    with pytest.raises(Refused) as refused:
        asking.request_of(info, resolve(info, catalog, tmp_path), catalog, RULES)
    assert refused.value.code == code


def test_long_prompts_and_none_are_refused(catalog: Catalog, tmp_path: Path) -> None:
    for prompt, code in (("a" * 4001, "too_long"), (" ", "info_without_prompt")):
        info = Info(program="x", prompt=prompt)
        with pytest.raises(Refused) as refused:
            asking.request_of(info, resolve(info, catalog, tmp_path), catalog, RULES)
        assert refused.value.code == code


def test_what_nobody_hashed_yet_is_known_by_its_note(
    models: list[ModelFile], tmp_path: Path
) -> None:
    noted = msgspec.structs.replace(models[1], hashes=("ab" * 32, "cd" * 6), path=tmp_path / "big")
    noted.path.write_bytes(b"large")
    catalog = a_catalog(models[0], noted)
    for digits in ("ABABABABAB", "cd" * 6):
        found = resolve(of(CHECKPOINT, "of another name", digits), catalog, tmp_path)
        assert found.files == {"model": "Dream Shaper"}, digits
    # what was hashed here goes before a note, which may be of another file
    stat = noted.path.stat()
    key = f"{noted.path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    (tmp_path / "hashes.json").write_text(json.dumps({key: "12" * 32}))
    missing = resolve(of(CHECKPOINT, "of another name", "ABABABABAB"), catalog, tmp_path).missing
    assert [one.name for one in missing] == ["of another name"]
    assert resolve(of(CHECKPOINT, "x", "1212121212"), catalog, tmp_path).files == {
        "model": "Dream Shaper"
    }
