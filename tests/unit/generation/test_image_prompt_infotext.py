"""IP-Adapters in infotexts: units of A1111's ControlNet extension."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation import image_prompts, metadata, prompt_flags
from generation.info import a1111
from generation.info.file_hashes import FileHashes
from generation.info.found import Info
from generation.info.resolving import resolve
from generation.metadata import read_infotext
from generation.models import ModelKind
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_options import exact
from tests.fixtures.requests import a_request
from tests.unit.generation.catalogs import a_catalog, a_model

SHARES = st.floats(0, 1)
PROMPTS = st.fixed_dictionaries(
    {
        "name": st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1)
        .filter(lambda name: name != "None" and ":" not in name)
        .map(lambda name: name[:80]),
        "pictures": st.just(["0" * 64]),
        "weight": st.floats(-1, 3),
        "kind": st.sampled_from(["whole", "style", "composition"]),
        "start": SHARES,
        "end": SHARES,
        "join": st.sampled_from(["concat", "average"]),
    }
)
OF_A1111 = (
    "a fox\nSteps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7, Seed: 1, "
    'Size: 512x512, Model: v1, ControlNet 0: "Module: {module}, Model: ip-adapter_sd15 [6a3f6166]'
    ", Weight: 0.8, Resize Mode: Crop and Resize, Processor Res: 512, Guidance Start: 0, "
    'Guidance End: 0.6, Pixel Perfect: False, Control Mode: Balanced", Version: v1.10.1'
)


def of(request: GenerationRequest) -> str:
    return metadata.infotext(metadata.About(request=request, index=0, seed=request.seed))


@given(PROMPTS)
def test_what_is_written_is_read_the_same(told: dict[str, object]) -> None:
    request = a_request(image_prompts=[told])
    read = read_infotext(of(request))
    assert read is not None
    assert read.ignored == ("Version",)
    [prompt] = request.image_prompts
    name, weight, *behind = str(read.given["ip_adapter"]).split(":")
    assert (name, weight) == (prompt.name, exact(prompt.weight))
    assert sorted(behind) == sorted(image_prompts.written(prompt).split(":")[1:])


def test_it_stands_behind_controlnets_as_a1111_has_it() -> None:
    net = {"name": "edges", "picture": "0" * 64}
    told = {"name": "plus", "pictures": ["0" * 64], "weight": 0.5, "kind": "style"}
    text = of(a_request(controls=[net], image_prompts=[told]))
    assert (
        'ControlNet 1: "Module: ip-adapter-auto, Model: plus, Weight: 0.5, Guidance Start: 0, '
        'Guidance End: 1", IP-Adapter 1: "Weight Type: style", Version'
    ) in text
    read = read_infotext(text)
    assert read is not None
    assert read.given["controlnet"] == "edges:1:pre=none"
    assert read.given["ip_adapter"] == "plus:0.5:kind=style"


@pytest.mark.parametrize(
    "module",
    [
        *("ip-adapter-auto", "ip-adapter_clip_sd15", "ip-adapter_clip_sdxl_plus_vith"),
        *("ip-adapter_clip_h", "CLIP-ViT-H (IPAdapter)"),
    ],
)
def test_a1111s_and_forges_modules_are_read(module: str) -> None:
    text = OF_A1111.format(module=module)
    read = read_infotext(text)
    assert read is not None
    assert read.given["ip_adapter"] == "ip-adapter_sd15:0.8:end=0.6"
    assert "controlnet" not in read.given
    # the picture is not in the data
    parsed = prompt_flags.parse(text)
    assert "ip_adapter" not in prompt_flags.merge(parsed, {})
    assert "IP-Adapter" in prompt_flags.ignored(parsed, prompt_flags.merge(parsed, {}))
    shown = prompt_flags.merge(parsed, {}, ["image_prompt"])
    assert shown["ip_adapter"] == "ip-adapter_sd15:0.8:end=0.6"
    own = prompt_flags.merge(parsed, {"ip_adapter": "other"}, ["image_prompt"])
    assert own["ip_adapter"] == "other"


@pytest.mark.parametrize(
    "module", ["ip-adapter_face_id_plus", "ip-adapter_pulid", "InsightFace+CLIP-H (IPAdapter)"]
)
def test_who_somebody_is_is_read_by_none(module: str) -> None:
    read = read_infotext(OF_A1111.format(module=module))
    assert read is not None
    assert "ControlNet 0" in read.ignored
    assert read.given.keys().isdisjoint(("ip_adapter", "controlnet"))


def test_info_names_what_is_missing(tmp_path_factory: pytest.TempPathFactory) -> None:
    info = a1111.read(OF_A1111.format(module="ip-adapter_clip_sd15"))
    assert info is not None
    [named] = info.beside
    assert (named.kind, named.name) == (ModelKind.IPADAPTER, "ip-adapter_sd15")
    assert [note.code for note in info.notes] == ["info_image_prompt"]
    assert "ip_adapter" not in info.given
    hashes = FileHashes(tmp_path_factory.mktemp("cache"))
    other = a_model("ip-adapter-plus_sd15", kind=ModelKind.IPADAPTER)
    [missing] = resolve(info, a_catalog(a_model("v1"), other), hashes).missing_beside
    assert (missing.kind, missing.nearest) == ("ipadapter", ("ip-adapter-plus_sd15",))
    there = a_catalog(a_model("v1"), a_model("ip-adapter_sd15", kind=ModelKind.IPADAPTER))
    assert resolve(info, there, hashes).missing_beside == ()


def test_of_its_own_picture_what_reads_is_missing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    told = {"name": "plus", "pictures": ["0" * 64]}
    info = Info(program="Darkroom", request=a_request(model="v1", image_prompts=[told]))
    hashes = FileHashes(tmp_path_factory.mktemp("cache"))
    [missing] = resolve(info, a_catalog(a_model("v1")), hashes).missing
    assert (missing.kind, missing.name) == ("ipadapter", "plus")


def test_a_weight_that_is_none_is_named() -> None:
    with pytest.raises(Refused, match="infotext_value"):
        read_infotext(OF_A1111.format(module="ip-adapter-auto").replace("0.8", "much"))
