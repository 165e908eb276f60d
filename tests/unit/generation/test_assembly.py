"""Which files become the parts of a checkpoint, and what is said of those that are missing."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from generation.assembly import (
    Allows,
    as_before,
    check_chosen,
    check_whole,
    missing,
    parts_of,
    quantised,
    with_vae,
)
from generation.catalog import Models
from generation.checks import check_same_family
from generation.families import FAMILIES, TextEncoder
from generation.families.encoders import BLIND, EYES_ALONE
from generation.families.sd import SD1
from generation.model_settings import ModelSettings
from generation.models import SD3_OR_FLUX, ModelFile, ModelKind
from generation.refusal import Refused
from tests.unit.generation.catalogs import a_model

CLIP_L = TextEncoder(part="text_encoder", tokenizer="tokenizer", file="clip_l")
T5 = TextEncoder(part="text_encoder_2", tokenizer="tokenizer_2", file="t5xxl")


@pytest.fixture(autouse=True)
def families(monkeypatch: pytest.MonkeyPatch) -> None:
    flux = msgspec.structs.replace(SD1, title="Flux.1", vaes="flux", encoders=(CLIP_L, T5))
    optional = msgspec.structs.replace(T5, optional=True)
    sd3 = msgspec.structs.replace(flux, title="SD3", vaes="sd3", encoders=(CLIP_L, optional))
    for name, family in (("flux", flux), ("sd3", sd3)):
        monkeypatch.setitem(FAMILIES, name, family)


def encoder(name: str, make: str, size: int = 1) -> ModelFile:
    return a_model(name, kind=ModelKind.TEXT_ENCODER, family=make, size=size)


def vae(name: str, family: str, size: int = 1) -> ModelFile:
    return a_model(name, kind=ModelKind.VAE, family=family, size=size)


def whole(
    *files: ModelFile, settings: dict[str, Any] | None = None, allows: Allows | None = None
) -> ModelFile:
    """The first of them as the catalogue has it among the others."""
    chosen = {} if settings is None else {"flux-dev": ModelSettings(**settings)}
    found = Models(files, chosen, allows).find(ModelKind.CHECKPOINT, files[0].name)
    assert found is not None
    return found


def test_a_model_that_edits_pictures_is_given_an_encoder_that_sees_them() -> None:
    """The other one is larger, and read with where nothing is to be seen."""
    make = "qwen2.5-vl-7b"
    seeing, blind = encoder("fp8", make), encoder("whole", make, size=2)
    blind = msgspec.structs.replace(blind, variant=BLIND)
    for variant, expected in (("", "whole"), ("edit", "fp8"), ("edit-plus", "fp8")):
        model = a_model("qwen", family="qwen-image", variant=variant)
        assert names(whole(model, seeing, blind)) == {make: expected}
    edit = whole(a_model("qwen", family="qwen-image", variant="edit"), blind)
    assert [part.part for part in missing(edit)] == [make, "vae"]


def test_what_sees_may_lie_beside_what_reads(tmp_path: Path) -> None:
    """As llama.cpp has both; in the same folder before others."""
    make = "qwen2.5-vl-7b"

    def file(name: str, variant: str, size: int) -> ModelFile:
        found = msgspec.structs.replace(encoder(name, make, size=size), variant=variant)
        return msgspec.structs.replace(found, path=tmp_path / f"{name}.gguf")

    words, eyes = file("a/words", BLIND, 5), file("a/eyes", EYES_ALONE, 1)
    far, seeing = file("b/eyes", EYES_ALONE, 2), encoder("seeing", make, size=4)
    edit = a_model("qwen", family="qwen-image", variant="edit")
    found = whole(edit, words, far, eyes)
    assert names(found) == {make: "a/words"}
    assert found.parts[make].parts == {EYES_ALONE: eyes}
    assert whole(edit, words, far).parts[make].parts == {EYES_ALONE: far}
    assert names(whole(edit, eyes, seeing)) == {make: "seeing"}
    assert names(whole(edit, eyes)) == {}
    plain = whole(a_model("qwen", family="qwen-image"), words, eyes)
    assert plain.parts[make] == words
    # drawn again as it was
    assert [one.name for one in found.files] == ["qwen", "a/words", "a/eyes"]
    known = {one.name: one for one in (words, eyes)}
    hashes = dict.fromkeys(("text_encoder:a/words", "text_encoder:a/eyes"), "0")
    assert as_before(found, hashes, lambda kind, name: known[name]) == found


def names(model: ModelFile) -> dict[str, str]:
    return {part: file.name for part, file in model.parts.items()}


DEV = a_model("flux-dev", family="flux")
CLIP = encoder("clip_l", "clip_l")
FP16, FP8 = encoder("t5xxl_fp16", "t5xxl", 9), encoder("t5xxl_fp8", "t5xxl", 5)
AE = vae("ae", SD3_OR_FLUX)


def test_what_lies_there_is_filled_in() -> None:
    found = whole(DEV, CLIP, FP16, AE, encoder("umt5", "umt5xxl", 99), vae("xl", "sdxl", 99))
    assert names(found) == {"clip_l": "clip_l", "t5xxl": "t5xxl_fp16", "vae": "ae"}
    assert found.parts["vae"].family == "flux"
    assert missing(found) == ()
    check_whole(found)


def test_what_it_carries_is_not_looked_for() -> None:
    carrying = msgspec.structs.replace(DEV, carries=("clip_l", "t5xxl", "vae"))
    assert whole(carrying, CLIP, FP16, AE).parts == {}
    check_whole(carrying)
    half = msgspec.structs.replace(DEV, carries=("vae",))
    assert [one.part for one in missing(half)] == ["clip_l", "t5xxl"]


def within(size: int) -> Allows:
    """Memory for parts of so many bytes together."""
    return lambda model: sum(part.size for part in model.parts.values()) <= size


@pytest.mark.parametrize(
    ("allows", "t5", "clip"),
    [
        (None, "t5xxl_fp16", "clip_l"),
        (within(12), "t5xxl_fp16", "clip_l"),
        (within(11), "t5xxl_fp8", "clip_l"),
        (within(6), "t5xxl_q2", "clip_l"),
        (within(4), "t5xxl_q2", "clip_l_fp8"),
        (within(0), "t5xxl_q2", "clip_l_fp8"),
    ],
)
def test_the_most_precise_is_taken_that_memory_allows(
    allows: Allows | None, t5: str, clip: str
) -> None:
    """What is largest gives way first; where nothing is allowed, the smallest are taken."""
    small = (encoder("t5xxl_q2", "t5xxl", 3), encoder("clip_l_fp8", "clip_l", 1))
    large = encoder("clip_l", "clip_l", 2)
    found = names(whole(DEV, FP8, *small, FP16, large, AE, allows=allows))
    assert (found["t5xxl"], found["clip_l"]) == (t5, clip)


def test_settings_say_what_is_quantised() -> None:
    found = whole(DEV, CLIP, FP16, AE, settings={"quantise": "nf4"})
    assert {found.quantise, *(part.quantise for part in found.parts.values())} == {"nf4"}
    assert quantised(found, "") == whole(DEV, CLIP, FP16, AE)
    beside = msgspec.structs.replace(DEV, defaults=ModelSettings(quantise="int8"))
    assert whole(beside, CLIP, FP16, AE).quantise == "int8"
    assert whole(beside, CLIP, FP16, AE, settings={"quantise": ""}).quantise == ""


def test_what_settings_choose_is_not_held_against_memory() -> None:
    settings = {"text_encoders": ("t5xxl_fp16",)}
    found = whole(DEV, CLIP, FP16, FP8, AE, settings=settings, allows=within(0))
    assert names(found)["t5xxl"] == "t5xxl_fp16"


def test_settings_choose_by_name() -> None:
    settings = {"text_encoders": ("T5XXL_fp8.safetensors",), "vae": "ae2"}
    found = whole(DEV, CLIP, FP16, FP8, AE, vae("ae2", "flux"), settings=settings)
    assert names(found) == {"clip_l": "clip_l", "t5xxl": "t5xxl_fp8", "vae": "ae2"}
    beside = msgspec.structs.replace(DEV, defaults=ModelSettings(text_encoders=("t5xxl_fp8",)))
    assert names(whole(beside, CLIP, FP16, FP8, AE))["t5xxl"] == "t5xxl_fp8"


@pytest.mark.parametrize(
    ("vaes", "taken"),
    [
        # what is told goes before what may be, and a name before none
        ((("ae", SD3_OR_FLUX, 9), ("odd", "flux", 1)), "odd"),
        ((("unnamed", SD3_OR_FLUX, 9), ("flux_vae", SD3_OR_FLUX, 1)), "flux_vae"),
        ((("unnamed", SD3_OR_FLUX, 9), ("sd3_vae", SD3_OR_FLUX, 99)), "unnamed"),
        ((("sd3.5-large-vae", SD3_OR_FLUX, 9),), None),
        ((("Stable Diffusion 3", SD3_OR_FLUX, 9), ("xl", "sd", 9)), None),
    ],
)
def test_vaes_that_nothing_tells_apart(
    vaes: tuple[tuple[str, str, int], ...], taken: str | None
) -> None:
    found = whole(DEV, CLIP, FP16, *(vae(*each) for each in vaes))
    assert names(found).get("vae") == taken


def test_a_diffusers_folder_lends_its_parts(tmp_path: Path) -> None:
    folder = a_model("folder", family="flux", carries=("clip_l", "t5xxl", "vae"))
    folder = msgspec.structs.replace(folder, path=tmp_path / "folder")
    found = whole(DEV, folder)
    assert found.parts["t5xxl"].path == tmp_path / "folder" / "text_encoder_2"
    assert found.parts["vae"].path == tmp_path / "folder" / "vae"
    # a file of its own goes before
    assert names(whole(DEV, folder, FP8))["t5xxl"] == "t5xxl_fp8"


def test_what_is_missing_is_named_with_the_file_that_people_know() -> None:
    with pytest.raises(Refused) as refused:
        check_whole(whole(DEV, CLIP))
    assert refused.value.code == "part_missing"
    assert refused.value.params == {
        "model": "flux-dev",
        "parts": "T5-XXL, VAE",
        "files": "text_encoders/t5xxl_fp16.safetensors, vae/ae.safetensors",
    }
    with pytest.raises(Refused, match="T5-XXL'"):
        check_whole(whole(DEV, CLIP), vae="ae")


def test_pictures_are_drawn_again_with_the_parts_of_the_first_time() -> None:
    files = (DEV, CLIP, FP16, FP8, AE, vae("ae2", "flux"), encoder("umt5", "umt5xxl"))
    models = Models(files)
    now = models.find(ModelKind.CHECKPOINT, "flux-dev")
    assert now is not None
    assert names(now) == {"clip_l": "clip_l", "t5xxl": "t5xxl_fp16", "vae": "ae2"}
    used = ("checkpoint:flux-dev", "text_encoder:t5xxl_fp8", "text_encoder:umt5", "vae:ae")
    before = as_before(now, dict.fromkeys(used, "0"), models.find)
    assert names(before) == {"clip_l": "clip_l", "t5xxl": "t5xxl_fp8", "vae": "ae"}
    # what has gone since is what the others have by now
    gone = as_before(now, {"text_encoder:t5xxl_q4": "0"}, models.find)
    assert names(gone)["t5xxl"] == "t5xxl_fp16"
    assert as_before(now, {}, models.find) == now


def test_a_part_that_was_not_there_the_first_time_is_left_out() -> None:
    models = Models((a_model("sd3", family="sd3"), CLIP, FP16, vae("sd3_vae", "sd3")))
    now = models.find(ModelKind.CHECKPOINT, "sd3")
    assert now is not None
    assert "t5xxl" in now.parts
    assert "t5xxl" not in as_before(now, {"text_encoder:clip_l": "0"}, models.find).parts


def test_a_chosen_vae_is_a_part_where_it_carries_none() -> None:
    chosen = vae("ae2", "flux")
    assert with_vae(whole(DEV, CLIP, FP16, AE), chosen).parts["vae"] == chosen
    carrying = msgspec.structs.replace(DEV, carries=("clip_l", "t5xxl", "vae"))
    assert with_vae(carrying, chosen).parts == {}
    assert with_vae(a_model("sd1"), chosen).parts == {}


def test_text_encoders_of_another_family_are_refused_by_name() -> None:
    check_chosen(DEV, (CLIP, FP8))
    with pytest.raises(Refused) as refused:
        check_chosen(DEV, (CLIP, encoder("qwen", "qwen3-4b")))
    assert refused.value.code == "text_encoder_mismatch"
    assert refused.value.params["make"] == "Qwen3 4B"


def test_a_lora_for_the_other_flux_is_refused_by_name() -> None:
    lora = a_model("ink", kind=ModelKind.LORA, family="flux2-klein-4b")
    with pytest.raises(Refused) as refused:
        check_same_family(lora, DEV)
    assert refused.value.code == "family_mismatch"
    assert refused.value.params["family"] == "Flux.2 Klein 4B"
    assert refused.value.params["model_family"] == "Flux.1"
    # one of which nothing tells for which Flux.2 it is
    lora = a_model("ink", kind=ModelKind.LORA, family="flux2")
    assert lora.fits(a_model("klein", family="flux2-klein-9b"))
    assert not lora.fits(DEV)


def test_what_is_optional_may_be_missing() -> None:
    model = whole(a_model("sd3", family="sd3"), CLIP, vae("sd3_vae", "sd3"))
    assert [(one.part, one.optional) for one in missing(model)] == [("t5xxl", True)]
    check_whole(model)


def test_models_of_one_file_have_no_parts() -> None:
    assert parts_of(FAMILIES["sdxl"]) == ()
    assert whole(a_model("sd1"), CLIP, FP16, AE).parts == {}
    assert missing(a_model("krea", family="krea2")) == ()
