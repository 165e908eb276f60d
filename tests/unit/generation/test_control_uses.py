"""What follows a control picture: the kind that a union is told, and over which steps it acts."""

from typing import Any

import msgspec
import pytest

from generation import control_uses
from generation.catalog import Catalog
from generation.checks import check as check_request
from generation.completion import complete
from generation.enlarging import second_pass
from generation.families.control import kinds_of
from generation.models import ModelKind
from generation.preset import Preset
from generation.preset import check as check_preset
from generation.preset import complete as complete_preset
from generation.preset_making import of_request
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_parts import ControlUse
from generation.rules import Rules
from tests.unit.generation.catalogs import a_catalog, a_model

NET: dict[str, Any] = {"kind": ModelKind.CONTROLNET, "family": "sdxl"}
CATALOG = a_catalog(
    a_model("big", family="sdxl", native_size=512),
    a_model("lines", **NET),
    a_model("all", variant="union", **NET),
    a_model("most", variant="union-promax", **NET),
    a_model("a:0.5", **NET),
    a_model("long-" * 30, variant="union", **NET),
    a_model("flux-all", kind=ModelKind.CONTROLNET, family="flux", variant="union"),
    a_model("depth", family="flux", variant="control", carries=("vae", "clip_l", "t5xxl")),
    a_model("edges", family="flux", variant="canny", carries=("vae", "clip_l", "t5xxl")),
    a_model("dev", family="flux", carries=("vae", "clip_l", "t5xxl")),
    a_model("filling", family="flux", variant="fill", carries=("vae", "clip_l", "t5xxl")),
    a_model("deep-lora", kind=ModelKind.LORA, family="flux", variant="control"),
    a_model("edge-lora", kind=ModelKind.LORA, family="flux", variant="control"),
)
RULES = Rules(default_model="big")


def use_of(net: str, catalog: Catalog = CATALOG, **given: Any) -> ControlUse:
    wanted = {"prompt": "a cat", "control_picture": "0" * 64, "controlnet": net, **given}
    [use] = complete(wanted, catalog, RULES).controls
    return use


@pytest.mark.parametrize(
    ("net", "scale", "told"),
    [
        ("lines", 1.0, (None, 0.0, 1.0)),
        ("LINES:0.5", 0.5, (None, 0.0, 1.0)),
        ("all:kind=depth", 1.0, ("depth", 0.0, 1.0)),
        ("all:0.7:kind = Lineart", 0.7, ("lineart", 0.0, 1.0)),
        ("most:kind=tile:start=0.25:end=0.5", 1.0, ("tile", 0.25, 0.5)),
        ("a:0.5", 1.0, (None, 0.0, 1.0)),
        ("a:0.5:2:end=0.5", 2.0, (None, 0.0, 0.5)),
    ],
)
def test_what_stands_behind_a_name(
    net: str, scale: float, told: tuple[str | None, float, float]
) -> None:
    use = use_of(net)
    assert use.scale == scale
    assert (use.kind, use.start, use.end) == told
    assert use.name == (net.split(":")[0].casefold() if not net.startswith("a:") else "a:0.5")


@pytest.mark.parametrize(
    ("net", "code", "said"),
    [
        ("all:kind=tile", "control_kind", "openpose, depth, hed"),
        ("all:kind=blur", "control_kind", "openpose, depth, hed"),
        ("flux-all:kind=depth", "family_mismatch", "Flux.1"),
        ("all:kind=deep", "control_kind_unknown", "depth"),
        ("lines:kind=depth", "control_kind_alone", "lines"),
        ("all:start=0.5:end=0.5", "control_span", "0.5"),
        ("all:start=half", "control_share", "half"),
        ("all:end=1.5", "control_share", "1.5"),
        ("all:kind=depth:kind=depth", "control_parts", "all:"),
        ("all:0.5:depth", "control_parts", "all:0.5:depth"),
        ("all:3", "out_of_bounds", "3"),
        ("al:kind=depth", "controlnet_unknown", "all"),
    ],
)
def test_what_is_wrong_is_refused(net: str, code: str, said: str) -> None:
    with pytest.raises(Refused) as refused:
        use_of(net)
    assert refused.value.code == code
    assert said in ", ".join(map(str, refused.value.params.values()))


def test_two_scales_are_refused() -> None:
    assert use_of("all:0.5", control_scale=0.5).scale == 0.5
    assert use_of("all:kind=depth", control_scale=0.5).scale == 0.5
    with pytest.raises(Refused, match="control_scale_twice"):
        use_of("all:0.5", control_scale=0.6)


def test_each_kind_is_offered_with_the_name() -> None:
    promax, union = (CATALOG.get(ModelKind.CONTROLNET, name) for name in ("most", "all"))
    assert set(kinds_of(promax)) - set(kinds_of(union)) == {"tile", "repaint"}
    offered = [name for net in CATALOG.controlnets for name in control_uses.names(net)]
    assert "lines" in offered
    assert not any(name.startswith("lines:") for name in offered)
    assert {f"most:kind={kind}" for kind in kinds_of(promax)} <= set(offered)
    assert "flux-all:kind=low_quality" in offered
    long = [name for name in offered if name.endswith(":kind=anime_lineart") and "… #" in name]
    assert len(long) == 1
    assert len(long[0]) <= 100
    assert use_of(long[0]) == ControlUse(
        "long-" * 30, "0" * 64, kind="anime_lineart", preprocessor="lineart", automatic=True
    )


def test_only_unions_that_were_told_nothing_are_named() -> None:
    uses = [use_of(net) for net in ("lines", "all", "most", "all:kind=depth")]
    assert [net.name for net in control_uses.untold(uses, CATALOG)] == ["all", "most"]


def test_a_preset_says_the_kind() -> None:
    request = complete(
        {"prompt": "a cat", "control_picture": "0" * 64, "controlnet": "all:0.5:kind=depth"},
        CATALOG,
        RULES,
    )
    preset = of_request("deep", request)
    assert (preset.controlnet, preset.control_scale) == ("all:kind=depth", 0.5)
    check_preset(preset, CATALOG)
    given = {"prompt": "a dog", "control_picture": "0" * 64}
    assert complete_preset(given, preset, CATALOG, RULES).controls == request.controls
    with pytest.raises(Refused, match="control_kind"):
        check_preset(Preset(name="a", controlnet="lines:kind=depth"), CATALOG)


def following(model: str = "depth", **given: Any) -> GenerationRequest:
    wanted = {"prompt": "a cat", "model": model, "control_picture": "0" * 64, **given}
    return complete({k: v for k, v in wanted.items() if v is not None}, CATALOG, RULES)


def test_a_model_that_follows_a_picture_itself_needs_no_controlnet() -> None:
    for given in ({}, {"controlnet": "depth"}, {"controlnet": "DEPTH:1", "control_scale": 1.0}):
        request = following(**given)
        assert request.controls == (ControlUse("depth", "0" * 64, automatic=True),)
    # as each was trained
    assert (following().guidance_scale, following("edges").guidance_scale) == (10, 30)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"control_picture": None}, "control_picture_needed"),
        ({"controlnet": "lines"}, "family_mismatch"),
        ({"controlnet": "edges"}, "control_by_model"),
        ({"model": "big", "controlnet": "depth"}, "control_by_model"),
        ({"control_scale": 0.5}, "control_as_trained"),
        ({"controlnet": "depth:start=0.5"}, "control_as_trained"),
        ({"controlnet": "depth:kind=depth"}, "control_kind_alone"),
    ],
)
def test_what_it_does_not_follow_is_refused(given: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as refused:
        following(**given)
    assert refused.value.code == code


def test_a_second_picture_is_refused() -> None:
    request = following()
    [use] = msgspec.to_builtins(request)["controls"]
    with pytest.raises(Refused, match="control_picture_needed"):
        check_request(request.with_(controls=[use, use]), CATALOG, RULES)


LORA: dict[str, Any] = {"model": "dev", "controlnet": None, "lora": "deep-lora"}


def test_a_lora_that_has_a_model_follow_a_picture_needs_no_controlnet() -> None:
    for given in (
        {},
        {"controlnet": "deep-lora"},
        {"prompt": "a <lora:deep-lora:0.8>", "lora": None},
    ):
        request = following(**{**LORA, **given})
        assert request.controls == (ControlUse("deep-lora", "0" * 64, automatic=True),)
        assert request.own_controls == request.controls


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"control_picture": None}, "control_picture_needed"),
        ({"controlnet": "flux-all"}, "control_picture_needed"),
        ({"controlnet": "deep-lora", "lora": None}, "control_by_lora"),
        ({"control_scale": 0.5}, "control_as_trained"),
        ({"lora": ("deep-lora", "edge-lora")}, "controlnet_unnamed"),
        ({"lora": ("deep-lora", "edge-lora"), "controlnet": "deep-lora"}, "lora_follows_beside"),
        ({"model": "depth", "controlnet": "depth"}, "lora_follows_beside"),
        ({"model": "filling"}, "lora_follows_beside"),
        ({"model": "big"}, "family_mismatch"),
    ],
)
def test_what_such_a_lora_does_not_follow_is_refused(given: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as refused:
        following(**{**LORA, **given})
    assert refused.value.code == code


def test_a_preset_of_it_draws_with_its_own_model_alone() -> None:
    preset = of_request("deep", following())
    check_preset(preset, CATALOG)
    given = {"prompt": "a dog", "control_picture": "0" * 64}
    again = complete_preset(given, preset, CATALOG, RULES)
    assert again.model == "depth"
    assert again.controls == (ControlUse("depth", "0" * 64, automatic=True),)
    with pytest.raises(Refused, match="control_by_model"):
        check_preset(Preset(name="a", model="big", controlnet="depth"), CATALOG)


def test_what_a_model_follows_itself_is_followed_when_its_picture_is_drawn_over() -> None:
    """Enlarged, or begun with anew; what a ControlNet read has done its work."""
    made = {
        "picture": "1" * 64,
        "upscaler": "Lanczos",
        "denoising_strength": 0.3,
        "width": 2048,
        "height": 2048,
        "from_width": 1024,
        "from_height": 1024,
    }
    request = following().with_(enlargement=made)
    assert second_pass(request).controls == request.controls
    check_request(second_pass(request), CATALOG, RULES, enlarging=True)
    steered = {"prompt": "a cat", "control_picture": "0" * 64, "controlnet": "lines"}
    other = complete(steered, CATALOG, RULES).with_(enlargement=made)
    assert second_pass(other).controls == ()


NETS = a_catalog(
    a_model("v1"),
    *(
        a_model(name, kind=ModelKind.CONTROLNET, **more)
        for name, more in (
            ("control_v11p_sd15_canny", {}),
            ("control_v11f1p_sd15_depth_fp16", {}),
            ("control_v11p_sd15_softedge", {}),
            ("control_v11p_sd15s2_lineart_anime", {}),
            ("control_v11p_sd15_scribble", {}),
            ("control_v11f1e_sd15_tile", {}),
            ("control_v1p_sd15_qrcode", {}),
            ("t2iadapter_sketch_sd14v1", {"variant": "t2i-adapter"}),
            ("recolor-lllite", {}),
            ("flux-canny", {"family": "flux"}),
        )
    ),
    a_model("depth_anything", kind=ModelKind.ANNOTATOR, family="", variant="depth"),
)


@pytest.mark.parametrize(
    ("net", "preprocessor"),
    [
        ("control_v11p_sd15_canny", "canny"),
        ("control_v11f1p_sd15_depth_fp16", "depth"),
        # what its network is not there for stays as it is
        ("control_v11p_sd15_softedge", "none"),
        ("control_v11p_sd15s2_lineart_anime", "lineart"),
        ("control_v11p_sd15_scribble", "scribble"),
        ("control_v11f1e_sd15_tile", "tile"),
        ("control_v1p_sd15_qrcode", "none"),
        ("t2iadapter_sketch_sd14v1", "scribble"),
        ("recolor-lllite", "recolor"),
    ],
)
def test_the_usual_preprocessor_is_told_by_the_name(net: str, preprocessor: str) -> None:
    [use] = complete(
        {"prompt": "a", "control_picture": "0" * 64, "controlnet": net}, NETS, Rules()
    ).controls
    assert (use.preprocessor, use.automatic) == (preprocessor, True)
    # and it is said for itself
    assert control_uses.written(use) == ""


def test_a_preprocessor_that_lacks_its_file_is_named() -> None:
    def unmade(net: str) -> list[tuple[str, str, str]]:
        given = {"prompt": "a", "control_picture": "0" * 64, "controlnet": net}
        uses = complete(given, NETS, Rules()).controls
        found = control_uses.unmade(uses, NETS)
        return [(one.net, one.preprocessor, one.annotator) for one in found]

    soft = "control_v11p_sd15_softedge"
    assert unmade(soft) == [(soft, "softedge", "softedge")]
    # who says what is made of it has been told, and what is there is used
    assert unmade(f"{soft}:pre=none") == []
    assert unmade(f"{soft}:pre=canny") == []
    assert unmade("control_v11f1p_sd15_depth_fp16") == []
    assert unmade("control_v1p_sd15_qrcode") == []


@pytest.mark.parametrize(
    ("told", "fields"),
    [
        ("pre=none", {"preprocessor": "none"}),
        ("pre=scribble_xdog:a=20", {"preprocessor": "scribble", "threshold_a": 20}),
        ("pre=Canny:b=90:res=768", {"preprocessor": "canny", "threshold_b": 90, "resolution": 768}),
        ("pre=auto:a=50", {"preprocessor": "canny", "automatic": True, "threshold_a": 50}),
        ("mode=prompt:fit=fill", {"mode": "prompt", "fit": "fill", "automatic": True}),
        ("mode=ControlNet is more important", {"mode": "control"}),
        ("fit=Just Resize", {"fit": "stretch"}),
        ("pre=depth_midas", {"preprocessor": "depth", "automatic": False}),
    ],
)
def test_what_is_told_of_a_preprocessor_is_read_and_written(
    told: str, fields: dict[str, Any]
) -> None:
    given = {"prompt": "a", "control_picture": "0" * 64}
    [use] = complete(
        given | {"controlnet": f"control_v11p_sd15_canny:0.5:{told}"}, NETS, Rules()
    ).controls
    assert {name: getattr(use, name) for name in fields} == fields
    again = f"{use.name}:0.5{control_uses.written(use)}"
    assert complete(given | {"controlnet": again}, NETS, Rules()).controls == (use,)


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ("pre=cany", "preprocessor_unknown"),
        ("pre=softedge", "annotator_missing_softedge"),
        ("pre=pose", "annotator_missing_person"),
        ("pre=lineart_realistic", "annotator_missing_lineart"),
        ("pre=none:a=3", "preprocessor_number"),
        ("a=256", "control_number"),
        ("a=0", "control_number"),
        ("a=nan", "control_number"),
        ("res=3", "control_number"),
        ("res=512.5", "control_number"),
        ("mode=both", "control_choice"),
        ("fit=wide", "control_choice"),
        ("picture=fifth", "control_choice"),
        ("picture=start", "option_needs"),
    ],
)
def test_what_is_wrong_with_a_preprocessor_is_refused(told: str, code: str) -> None:
    given = {"prompt": "a", "control_picture": "0" * 64}
    with pytest.raises(Refused) as refused:
        complete(given | {"controlnet": f"control_v11p_sd15_canny:{told}"}, NETS, Rules())
    assert refused.value.code == code


def test_modes_are_for_unets_alone() -> None:
    catalog = a_catalog(
        a_model("dev", family="flux", carries=("vae", "clip_l", "t5xxl")),
        a_model("flux-canny", kind=ModelKind.CONTROLNET, family="flux"),
    )
    given = {"prompt": "a", "control_picture": "0" * 64, "controlnet": "flux-canny:mode=prompt"}
    with pytest.raises(Refused, match="control_mode_unknown"):
        complete(given, catalog, Rules())


CANNY, DEPTH, TILE = (
    "control_v11p_sd15_canny",
    "control_v11f1p_sd15_depth_fp16",
    "control_v11f1e_sd15_tile",
)


def uses_of(**given: Any) -> list[tuple[str, str, float]]:
    request = complete({"prompt": "a", **given}, NETS, Rules())
    return [(use.name, use.picture[:1], use.scale) for use in request.controls]


def test_several_controlnets_read_one_picture_or_each_its_own() -> None:
    one, two = "1" * 64, "2" * 64
    nets = (f"{CANNY}:0.5", DEPTH)
    assert uses_of(controlnet=nets, control_picture=one) == [(CANNY, "1", 0.5), (DEPTH, "1", 1.0)]
    assert uses_of(controlnet=nets, control_picture=(one, two), control_scale=0.8) == [
        (CANNY, "1", 0.5),
        (DEPTH, "2", 0.8),
    ]
    request = complete(
        {
            "prompt": "a",
            "controlnet": (CANNY, f"{TILE}:picture=start", f"{DEPTH}:picture=second"),
            "control_picture": one,
            "init_picture": two,
            "second_picture": "3" * 64,
        },
        NETS,
        Rules(),
    )
    assert [use.picture[:1] for use in request.controls] == ["1", "2", "3"]
    # what a ControlNet reads is shown to no model
    assert (request.init_picture, request.second_picture) == (two, None)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"controlnet": (CANNY,) * 4, "control_picture": "0" * 64}, "controls_too_many"),
        ({"controlnet": CANNY, "control_picture": ("0" * 64, "1" * 64)}, "control_pictures_unread"),
        ({"control_picture": ("0" * 64, "1" * 64)}, "control_pictures_unread"),
        ({"controlnet": (CANNY, DEPTH)}, "option_needs"),
        ({"control_scale": 0.5}, "option_needs"),
    ],
)
def test_pictures_and_controlnets_that_do_not_fit_are_refused(
    given: dict[str, Any], code: str
) -> None:
    with pytest.raises(Refused) as refused:
        uses_of(**given)
    assert refused.value.code == code


def test_a_preset_has_several() -> None:
    request = complete(
        {
            "prompt": "a",
            "controlnet": (f"{CANNY}:0.5:mode=prompt", f"{DEPTH}:0.25:end=0.5"),
            "control_picture": "0" * 64,
        },
        NETS,
        Rules(),
    )
    preset = of_request("both", request)
    check_preset(preset, NETS)
    given = {"prompt": "a dog", "control_picture": "0" * 64}
    assert complete_preset(given, preset, NETS, Rules()).controls == request.controls
