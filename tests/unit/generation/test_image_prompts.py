"""Pictures as prompts: how their files are told, and how people write of them."""

from pathlib import Path
from typing import Any

import pytest

from generation import image_prompts
from generation.catalog import Catalog
from generation.completion import complete
from generation.families.image_prompts import contents, sees_for, wanted_eyes
from generation.families.layout import Shapes, TensorNames
from generation.models import ModelKind
from generation.refusal import Refused
from generation.request_parts import ImagePrompt
from generation.rules import Rules
from tests.unit.generation.catalogs import a_catalog, a_model
from tests.unit.generation.test_catalog import write

H: Shapes = {
    "vision_model.embeddings.class_embedding": (1280,),
    "visual_projection.weight": (1024, 1280),
}
G: Shapes = {
    "vision_model.embeddings.class_embedding": (1664,),
    "visual_projection.weight": (1280, 1664),
}
# OpenAI's file is a whole CLIP
L: Shapes = {
    "text_model.embeddings.token_embedding.weight": (49408, 768),
    "vision_model.embeddings.class_embedding": (1024,),
    "visual_projection.weight": (768, 1024),
}
S: Shapes = {
    "vision_model.embeddings.patch_embedding.weight": (1152, 3, 14, 14),
    "vision_model.head.probe": (1, 1, 1152),
}
EYES_FILES = {"h": H, "g": G, "l": L, "s": S}
SEEN_BY = {"H-14": "h", "bigG": "g", "large": "l", "sigclip": "s"}
FLUX_OF_INSTANTX = ("flux", "instantx", "sigclip")
BLOCK = "double_blocks.0.processor.ip_adapter_double_stream"


def adapter(width: int, **own: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The shapes of an IP-Adapter's tensors that tell it."""
    proj = {f"image_proj.{name.replace('__', '.')}": shape for name, shape in own.items()}
    return {**proj, "ip_adapter.1.to_k_ip.weight": (320, width)}


@pytest.mark.parametrize(
    ("shapes", "family", "variant", "eyes"),
    [
        (adapter(768, proj__weight=(3072, 1024), norm__weight=(768,)), "sd1", "base", "H-14"),
        (adapter(768, latents=(1, 16, 768), proj_in__weight=(768, 1280)), "sd1", "plus", "H-14"),
        (adapter(768, proj__0__weight=(1280, 1280)), "sd1", "full", "H-14"),
        (adapter(2048, proj__weight=(8192, 1280), norm__weight=(2048,)), "sdxl", "base", "bigG"),
        (adapter(2048, proj__weight=(8192, 1024), norm__weight=(2048,)), "sdxl", "base", "H-14"),
        (
            adapter(2048, latents=(1, 16, 1280), proj_in__weight=(1280, 1280)),
            "sdxl",
            "plus",
            "H-14",
        ),
        (
            {
                "ip_adapter_proj_model.proj.weight": (16384, 768),
                f"{BLOCK}_k_proj.weight": (3072, 4096),
                f"{BLOCK}_v_proj.weight": (3072, 4096),
            },
            "flux",
            "base",
            "large",
        ),
        (adapter(4096, proj__0__weight=(2304, 1152), norm__weight=(4096,)), *FLUX_OF_INSTANTX),
    ],
)
async def test_files_are_told_by_their_tensors(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], family: str, variant: str, eyes: str
) -> None:
    write(tmp_path / "ipadapter" / "one.safetensors", shapes)
    for name, each in EYES_FILES.items():
        write(tmp_path / "clip_vision" / f"{name}.safetensors", dict(each))
    catalog = Catalog([tmp_path])
    await catalog.scan()
    [file] = catalog.ipadapters
    assert (file.kind, file.family, file.variant) == (ModelKind.IPADAPTER, family, variant)
    seeing = {one.name for one in catalog.clip_visions if sees_for(one, file)}
    assert seeing == {SEEN_BY[eyes]}
    assert eyes in wanted_eyes(file)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        (
            {"image_proj.proj.0.weight": (1, 1), "ip_adapter.0.to_q_lora.down.weight": (1, 1)},
            "FaceID",
        ),
        (adapter(768, norm__weight=(768,), proj__0__weight=(1024, 512)), "FaceID"),
        (adapter(4096, proj__weight=(1, 768)), "another model"),
        (adapter(1536, proj__weight=(1, 768)), "another model"),
    ],
)
def test_what_cannot_be_used_is_named(shapes: dict[str, tuple[int, ...]], said: str) -> None:
    found = contents(TensorNames(shapes))
    assert found is not None
    assert found.kind is None
    assert said in found.what


ADAPTER: dict[str, Any] = {"kind": ModelKind.IPADAPTER, "variant": "base", "input_channels": 1024}
EYES: dict[str, Any] = {"kind": ModelKind.CLIP_VISION, "family": "clip-vision-h"}
CATALOG = a_catalog(
    a_model("v1"),
    a_model("xl", family="sdxl"),
    a_model("plain", **ADAPTER),
    a_model("plus-face", **(ADAPTER | {"variant": "plus", "input_channels": 1280})),
    a_model("xl-one", family="sdxl", **ADAPTER),
    a_model("blind", **(ADAPTER | {"variant": "plus", "input_channels": 1664})),
    a_model("h", **EYES, input_channels=1024, context_width=1280),
)
GIVEN = {"prompt": "a", "model": "v1", "image_prompt": "0" * 64}


def prompt_of(**given: Any) -> ImagePrompt:
    [found] = complete(GIVEN | given, CATALOG, Rules()).image_prompts
    return found


def test_what_stands_behind_a_name_is_read_and_written() -> None:
    assert prompt_of(ip_adapter="PLAIN") == ImagePrompt("plain", ("0" * 64,))
    found = prompt_of(ip_adapter="plain:0.5:start=0.2:end=0.8:join=average")
    assert found == ImagePrompt("plain", ("0" * 64,), 0.5, start=0.2, end=0.8, join="average")
    assert image_prompts.written(found) == ":start=0.2:end=0.8:join=average"
    line = f"plain:0.5{image_prompts.written(found)}"
    assert image_prompts.read_line(line, ImagePrompt("x", ("0" * 64,))) == found
    several = prompt_of(ip_adapter="plain", image_prompt=("0" * 64, "1" * 64), image_weight=0.7)
    assert several == ImagePrompt("plain", ("0" * 64, "1" * 64), 0.7)
    styled = prompt_of(model="xl", ip_adapter="xl-one:kind=style transfer")
    assert styled.kind == "style"
    # the only one that fits need not be named
    assert prompt_of(model="xl").name == "xl-one"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({}, "ipadapter_unnamed"),
        ({"ip_adapter": "plane"}, "ipadapter_unknown"),
        ({"ip_adapter": "xl-one"}, "ipadapter_mismatch"),
        ({"ip_adapter": "blind"}, "eyes_missing"),
        ({"ip_adapter": "plain:kind=style"}, "image_kind_unknown"),
        ({"ip_adapter": "plain:kind=hat"}, "control_choice"),
        ({"ip_adapter": "plain:much=1"}, "image_prompt_parts"),
        ({"ip_adapter": "plain:9"}, "out_of_bounds"),
        ({"ip_adapter": "plain:start=0.5:end=0.5"}, "control_span"),
        ({"ip_adapter": "plain:start=x"}, "control_share"),
        ({"ip_adapter": "plain", "image_prompt": ("0" * 64,) * 5}, "image_prompts_too_many"),
    ],
)
def test_what_is_wrong_is_refused(given: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as refused:
        prompt_of(**given)
    assert refused.value.code == code


def test_without_a_picture_or_an_adapter_there_is_none() -> None:
    with pytest.raises(Refused, match="option_needs"):
        complete({"prompt": "a", "ip_adapter": "plain"}, CATALOG, Rules(default_model="v1"))
    bare = a_catalog(a_model("v1"))
    with pytest.raises(Refused, match="no_ipadapters"):
        complete(GIVEN, bare, Rules())


def test_faces_come_first_where_they_are_wanted() -> None:
    model = CATALOG.get(ModelKind.CHECKPOINT, "v1")
    names = [
        [f.name for f in image_prompts.suggested(CATALOG, model, faces=f_)] for f_ in (True, False)
    ]
    assert names[0][0] == "plus-face"
    assert names[1][-1] == "plus-face"


async def test_xlabs_own_folders_are_looked_into(tmp_path: Path) -> None:
    shapes = {
        "ip_adapter_proj_model.proj.weight": (16384, 768),
        f"{BLOCK}_k_proj.weight": (3072, 4096),
    }
    write(tmp_path / "xlabs" / "ipadapters" / "ip_adapter.safetensors", shapes)
    catalog = Catalog([tmp_path])
    await catalog.scan()
    assert [file.family for file in catalog.ipadapters] == ["flux"]


def test_a_weight_that_is_given_goes_before_one_behind_the_name() -> None:
    assert prompt_of(ip_adapter="plain:0.5", image_weight=0.7).weight == 0.7
