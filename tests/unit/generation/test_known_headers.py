"""What the catalogue says of files of true size and layout, of which only the headers are kept."""

from pathlib import Path

import pytest

from generation import model_reader
from generation.families import DESCRIBED
from generation.families.encoders import BLIND
from generation.families.layout import TensorNames, expanded
from generation.model_folders import Candidate
from generation.model_probe import contents_of
from generation.model_reader import ModelReader, Reading
from generation.models import ModelKind
from tests.fixtures import headers

KNOWN = {header.name: header for header in headers.read()}
EVERY = frozenset(("", *model_reader.VARIANT_TITLES))


def read(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Reading:
    """What is made of the file when every variant can be drawn with."""
    monkeypatch.setattr(model_reader, "FAMILIES", {})
    file = KNOWN[name].write(folder / "file.safetensors")
    return ModelReader().read(Candidate(file, folder, ""))


@pytest.mark.parametrize("name", KNOWN)
def test_files_are_told_by_their_headers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = KNOWN[name]
    reading = read(name, tmp_path, monkeypatch)
    said = " ".join(reading.problem.params.values()) if reading.problem else ""
    if reading.model is None:
        assert reading.problem is not None
        assert (known.kind, "") == (reading.problem.code, known.family)
        assert known.says in said
        return
    model = reading.model
    found = (str(model.kind), model.family, model.variant)
    assert found == (known.kind, known.family, known.variant)
    if known.says == "scaled":
        assert model.quantisation == "scaled fp8"
        assert said == ""
    else:
        assert model.quantisation == ("fp8" if "fp8" in name else "")
        assert known.says in said
        assert bool(said) == bool(known.says)


def test_there_are_enough_of_each_kind() -> None:
    kinds = [header.kind for header in KNOWN.values()]
    assert len(kinds) > 100
    # no safetensors files, or tested with tiny ones
    others = {ModelKind.TAGGER, ModelKind.CAPTIONER, ModelKind.ANNOTATOR, ModelKind.SEGMENTER}
    others |= {ModelKind.IPADAPTER, ModelKind.CLIP_VISION, ModelKind.BACKGROUND_REMOVER}
    others |= {kind for kind in ModelKind if kind.value.startswith("face_")}
    assert all(kinds.count(kind) >= 4 for kind in set(ModelKind) - others)


@pytest.mark.parametrize("name", ["sd1", "sd1-of-2022", "sd2", "sd-turbo", "sdxl", "sdxl-refiner"])
def test_the_description_of_a_checkpoint_is_that_of_the_published_one(name: str) -> None:
    """Each tensor that is described is there, and of those that are there few are not described."""
    known = KNOWN[name]
    names = TensorNames({tensor: shape for tensor, (_, shape) in known.tensors.items()})
    layout = next(one for one in DESCRIBED[known.family].layouts if one.matches(names))
    described: set[str] = set()
    for part in layout.parts:
        assert part.missing(names) == ()
        described |= {part.begins + tensor for tensor in expanded(part.tensors)}
    assert described <= known.tensors.keys()
    assert len(known.tensors.keys() - described) < 40


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated:FutureWarning")
def test_what_is_kept_is_what_the_published_configs_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # they import torch and diffusers
    from tests.fixtures import make_family_headers, make_headers, make_part_headers

    monkeypatch.setattr(headers, "FILE", tmp_path / "headers.json.xz")
    monkeypatch.setattr(headers, "PARTS", tmp_path / "part_headers.json.xz")
    monkeypatch.setattr(headers, "FAMILIES", tmp_path / "family_headers.json.xz")
    make_headers.main()
    make_part_headers.main()
    make_family_headers.main()
    assert {header.name: header for header in headers.read()} == KNOWN


def test_channels_and_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    channels = {}
    for name in ("sd1", "sd1-inpainting", "sd1-instruct-pix2pix", "sd2-depth", "sdxl-inpainting"):
        model = read(name, tmp_path, monkeypatch).model
        assert model is not None
        channels[name] = model.input_channels
    assert list(channels.values()) == [4, 9, 8, 5, 9]
    marked = read("sdxl-v-zsnr", tmp_path, monkeypatch).model
    assert marked is not None
    assert (marked.v_prediction, marked.zero_terminal_snr) == (True, True)


@pytest.mark.parametrize(
    ("names", "family", "variant"),
    [
        # by one sign alone
        (("lora_unet_middle_block_1_proj_in.lora_down.weight",), "sdxl", ""),
        (("lora_unet_input_blocks_4_1_proj_in.hada_w1_a",), "sdxl", "loha"),
        (("lycoris_output_blocks_3_1_proj_in.lokr_w1",), "sdxl", "lokr"),
        (("unet.mid_block.attentions.0.transformer_blocks.3.ff.lora_A.weight",), "sdxl", ""),
        (("lora_unet_mid_block_attentions_0_proj_in.lora_down.weight",), "sd", ""),
        (("task_embedding", "controlnet_cond_embedding.conv_in.weight"), "sdxl", "union"),
        (("task_embedding", "zero_convs.0.0.weight"), "sdxl", "union"),
        (("control_type_proj.weight", "zero_convs.0.0.weight"), "sdxl", "union"),
        (("txt_norm.weight", "img_in.weight"), "qwen-image", ""),
        (("txt_norm.weight", "img_in.weight", "context_embedder.weight"), "", ""),
    ],
)
def test_one_sign_is_enough(names: tuple[str, ...], family: str, variant: str) -> None:
    found = contents_of(dict.fromkeys(names, (4, 4)))
    assert (found.family, found.variant) == (family, variant)


def test_variants_that_cannot_be_drawn_are_named(tmp_path: Path) -> None:
    for name, code in (("sd2-depth", "model_variant"), ("sd1-inpainting", ""), ("control-sd1", "")):
        file = KNOWN[name].write(tmp_path / "file.safetensors")
        reading = ModelReader().read(Candidate(file, tmp_path, ""))
        assert (reading.problem.code if reading.problem else "") == code


def test_a_name_tells_a_variant_where_nothing_else_does(tmp_path: Path) -> None:
    file = KNOWN["qwen-image"].write(tmp_path / "Qwen-Image-Layered.safetensors")
    problem = ModelReader().read(Candidate(file, tmp_path, "")).problem
    assert problem is not None
    assert problem.code == "model_variant"


@pytest.mark.parametrize(
    ("header", "name", "variant"),
    [
        ("flux-control", "flux1-canny-dev-fp8", "canny"),
        ("flux-control", "flux1-depth-dev", "control"),
        ("flux-dev", "canny-lovers-merge", ""),
        ("flux-alone", "flux1-kontext-dev-Q4_K_S", "kontext"),
        ("flux-alone", "fluxKontextDev_fp8", "kontext"),
        ("flux-control", "kontext-depth", "control"),
        ("qwen-image", "qwen_image_edit_fp8_e4m3fn", "edit"),
        ("qwen-image", "qwen_image_edit_2509_fp8", "edit-plus"),
        ("qwen-image", "Qwen-Image-Edit-2511-Q4_K_M", "edit-plus"),
        ("qwen-image", "credited_qwen_image", ""),
        ("qwen-image", "qwen_image_2512_bf16", ""),
        ("flux-alone", "flux1-dev", ""),
    ],
)
def test_a_name_says_what_a_model_follows_or_edits(
    header: str, name: str, variant: str, tmp_path: Path
) -> None:
    file = KNOWN[header].write(tmp_path / f"{name}.safetensors")
    model = ModelReader().read(Candidate(file, tmp_path, "")).model
    assert model is not None
    assert model.variant == variant


def test_a_text_encoder_without_eyes_reads_text_alone() -> None:
    shapes = {name: shape for name, (_, shape) in KNOWN["qwen2.5-vl-7b"].tensors.items()}
    assert contents_of(shapes).variant == ""
    words = {name: shape for name, shape in shapes.items() if "visual." not in name}
    assert contents_of(words).variant == BLIND


@pytest.mark.parametrize(
    ("name", "carries"),
    [
        ("flux-one-file", ("clip_l", "t5xxl", "vae")),
        ("flux-alone", ()),
        ("sd3-one-file", ("clip_l", "clip_g", "t5xxl", "vae")),
        ("sd3-with-vae", ("vae",)),
        ("sd1", ()),
    ],
)
def test_what_lies_in_one_file(
    name: str, carries: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = read(name, tmp_path, monkeypatch).model
    assert model is not None
    assert model.carries == carries


def test_a_part_in_one_file_that_is_not_whole_is_named() -> None:
    shapes = {name: shape for name, (_, shape) in KNOWN["flux-one-file"].tensors.items()}
    t5 = "text_encoders.t5xxl.transformer."
    cut = {name: shape for name, shape in shapes.items() if f"{t5}encoder.block.23." not in name}
    lacks = "its T5-XXL lacks encoder.block.23.layer.0.SelfAttention.q.weight and 8 more"
    assert contents_of(cut).lacking.startswith(lacks)
    wordless = {name: shape for name, shape in shapes.items() if name != f"{t5}shared.weight"}
    assert contents_of(wordless).lacking == "its T5-XXL lacks its words"
    half = {name: shape for name, shape in shapes.items() if "vae.decoder.up.0" not in name}
    assert contents_of(half).lacking.startswith("its VAE lacks decoder.up.0.")
    assert contents_of(shapes).lacking == ""


@pytest.mark.parametrize(
    ("family", "name", "variant"),
    [
        ("z-image", "z_image_turbo_bf16", "turbo"),
        ("z-image", "Z-Image-Turbo_Q8", "turbo"),
        ("z-image", "z_image_bf16", ""),
        ("z-image", "z-image-base", ""),
        ("z-image", "z_image_de_turbo", ""),
        ("z-image", "MadeTurbo", "turbo"),
        ("z-image", "made-turbo", "turbo"),
        ("z-image", "dreams", ""),
        ("flux2-klein-4b", "flux-2-klein-4b-fp8", ""),
        ("flux2-klein-4b", "flux-2-klein-base-4b-fp8", "base"),
        ("flux2-klein-9b", "FLUX.2-klein-base-9B", "base"),
        ("flux2-klein-9b", "based-on-klein", ""),
    ],
)
def test_a_variant_that_no_tensor_tells_is_told_by_its_name(
    family: str, name: str, variant: str, tmp_path: Path
) -> None:
    known = KNOWN[family if family == "z-image" else f"{family}-original"]
    file = known.write(tmp_path / f"{name}.safetensors")
    model = ModelReader().read(Candidate(file, tmp_path, "")).model
    assert model is not None
    assert (model.family, model.variant) == (family, variant)


def test_a_lora_of_chroma_has_flux_layers(tmp_path: Path) -> None:
    """What was noted of it tells."""
    lora: dict[str, tuple[str, tuple[int, ...]]] = {
        f"diffusion_model.single_blocks.30.linear1.lora_{half}.weight": ("BF16", shape)
        for half, shape in (("A", (4, 3072)), ("B", (21504, 4)))
    }
    for said, family in (("chroma", "chroma"), ("flux1", "flux"), ("", "flux")):
        known = headers.KnownHeader(
            "a", "lora", family, "", "", lora, {"ss_base_model_version": said} if said else {}
        )
        file = known.write(tmp_path / f"{family}.safetensors")
        model = ModelReader().read(Candidate(file, tmp_path, "")).model
        assert model is not None
        assert (model.kind, model.family) == (ModelKind.LORA, family)


def test_what_is_said_beside_a_file_tells_its_variant(tmp_path: Path) -> None:
    file = KNOWN["z-image"].write(tmp_path / "dreams.safetensors")
    notes = tmp_path / "dreams.civitai.info"
    notes.write_text('{"baseModel": "ZImageTurbo"}', encoding="utf-8")
    model = ModelReader().read(Candidate(file, tmp_path, "", notes=(notes,))).model
    assert model is not None
    assert model.variant == "turbo"
