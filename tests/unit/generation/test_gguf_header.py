"""GGUF files in the catalogue: told by their tensors, refused in a sentence, hostile ones too."""

import random
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from bot.locales import Texts
from generation import gguf_header
from generation.catalog import Catalog
from generation.families.encoders import EYES_ALONE
from generation.gguf_header import TYPES, read_gguf
from generation.gguf_names import plain_names
from generation.model_folders import Candidate
from generation.model_reader import ModelReader, Reading
from generation.models import ModelKind
from generation.safetensors_header import HeaderError
from tests.fixtures import headers
from tests.fixtures.gguf_files import as_llama_cpp, entry, file_of, key, text, write, write_empty
from tests.unit.generation.test_catalog import FLUX, SD1, SDXL, kohya

WEIGHT = entry("double_blocks.0.img_attn.qkv.weight", (32, 2), 8, 0)
"""Two blocks of 34 bytes."""


def reading_of(content: bytes, folder: Path) -> Reading:
    file = folder / "odd.gguf"
    file.write_bytes(content)
    return ModelReader().read(Candidate(file, folder, ""))


def why(content: bytes, folder: Path) -> str:
    """What is said of a file that is refused, as people read it."""
    reading = reading_of(content, folder)
    assert reading.model is None
    assert reading.problem is not None
    assert reading.problem.code == "model_broken", reading.problem
    return Texts("en-US")(reading.problem.code, **reading.problem.params)


def test_sizes_of_blocks_are_those_of_the_library() -> None:
    for number, packing in TYPES.items():
        kind = gguf.GGMLQuantizationType(number)
        assert packing == (kind.name, *gguf.GGML_QUANT_SIZES[kind])


def test_a_file_of_the_library_is_read_as_the_library_reads_it(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "flux")
    writer.add_quantization_version(2)
    writer.add_array("comfy.gguf.orig_shape.joined", [3, 8, 16])
    writer.add_array("words", ["one", "two", "three"])
    writer.add_bool("general.flag", True)
    weights = np.linspace(-1, 1, 4 * 64, dtype=np.float32).reshape(4, 64)
    packed = gguf.quantize(weights, gguf.GGMLQuantizationType.Q4_0)
    writer.add_tensor("packed", packed, raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    joined = gguf.quantize(np.ones((6, 64), np.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("joined", joined, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("plain", np.arange(5, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = read_gguf(tmp_path / "a.gguf")
    assert header.shapes == {"packed": (4, 64), "joined": (3, 8, 16), "plain": (5,)}
    assert header.architecture == "flux"
    assert header.main_packing == "Q8_0"
    content = (tmp_path / "a.gguf").read_bytes()
    for tensor in gguf.GGUFReader(tmp_path / "a.gguf").tensors:
        found = header.tensors[tensor.name]
        assert found.packing.name == tensor.tensor_type.name
        assert content[found.begin : found.begin + found.size] == tensor.data.tobytes()


def test_names_of_text_encoders_are_those_of_their_authors() -> None:
    block = ("attn_q", "attn_k", "attn_v", "attn_o", "attn_norm", "attn_rel_b")
    names = (
        *("token_embd.weight", "enc.output_norm.weight"),
        *(f"enc.blk.7.{layer}.weight" for layer in (*block, "ffn_gate", "ffn_up", "ffn_norm")),
    )
    attention = "encoder.block.7.layer.0.SelfAttention"
    dense = "encoder.block.7.layer.1.DenseReluDense"
    assert list(plain_names("t5encoder", dict.fromkeys(names))) == [
        *("shared.weight", "encoder.final_layer_norm.weight"),
        *(f"{attention}.{name}.weight" for name in "qkvo"),
        "encoder.block.7.layer.0.layer_norm.weight",
        f"{attention}.relative_attention_bias.weight",
        *(f"{dense}.wi_0.weight", f"{dense}.wi_1.weight"),
        "encoder.block.7.layer.1.layer_norm.weight",
    ]
    layers = ("attn_q.bias", "attn_q_norm.weight", "attn_output.weight", "ffn_norm.weight")
    names = ("output.weight", "output_norm.weight", *(f"blk.3.{layer}" for layer in layers))
    assert list(plain_names("qwen3", dict.fromkeys(names))) == [
        *("lm_head.weight", "model.norm.weight"),
        "model.layers.3.self_attn.q_proj.bias",
        "model.layers.3.self_attn.q_norm.weight",
        "model.layers.3.self_attn.o_proj.weight",
        "model.layers.3.post_attention_layernorm.weight",
    ]
    assert list(plain_names("flux", {"blk.3.attn_q.bias": 0})) == ["blk.3.attn_q.bias"]


async def test_the_catalogue_lists_them_as_other_files(tmp_path: Path) -> None:
    write_empty(tmp_path / "checkpoints" / "dream-Q8_0.gguf", SD1, "sd1", "Q8_0")
    write_empty(tmp_path / "checkpoints" / "xl.GGUF", SDXL)
    write_empty(tmp_path / "unet" / "flux1-dev-Q4_K_S.gguf", FLUX, "flux", "Q4_K")
    (tmp_path / "checkpoints" / "dream-Q8_0.darkroom.toml").write_text("steps = 7")
    catalog = Catalog([tmp_path])
    await catalog.scan()
    assert [(model.name, model.family, model.quantisation) for model in catalog.checkpoints] == [
        ("dream-Q8_0", "sd1", "Q8_0"),
        ("flux1-dev-Q4_K_S", "flux", "Q4_K"),
        ("xl", "sdxl", "F16"),
    ]
    found = catalog.get(ModelKind.CHECKPOINT, "DREAM-q8_0.gguf")
    assert found.defaults is not None
    assert (found.defaults.steps, found.is_folder, found.shown) == (7, False, "dream-Q8_0.gguf")


@pytest.mark.parametrize(
    ("architecture", "what"),
    [
        ("llama", "a language model (llama)"),
        ("gemma3", "a language model (gemma3)"),
        ("clip", "the part of a language model that sees pictures (mmproj)"),
    ],
)
def test_language_models_are_named(tmp_path: Path, architecture: str, what: str) -> None:
    shapes = {"token_embd.weight": (64, 32), "blk.0.attn_q.weight": (32, 32)}
    file = write_empty(tmp_path / "llm.gguf", shapes, architecture)
    reading = ModelReader().read(Candidate(file, tmp_path, ""))
    assert reading.problem is not None
    assert reading.problem.code == "model_other"
    assert reading.problem.params == {"file": "llm.gguf", "what": what}


@pytest.mark.parametrize(
    ("projector", "width"), [("qwen2.5vl_merger", 3584), ("mlp", 3584), ("qwen2.5vl_merger", 2048)]
)
def test_what_sees_is_told_by_what_it_is_made_for(
    tmp_path: Path, projector: str, width: int
) -> None:
    """Qwen2.5-VL's of 7B, and no other language model's."""
    shapes = {"v.blk.0.attn_q.weight": (1280, 1280), "mm.2.bias": (width,)}
    keys = [key("clip.projector_type", projector)]
    file = write_empty(tmp_path / "mmproj.gguf", shapes, "clip", keys=keys)
    reading = ModelReader().read(Candidate(file, tmp_path, ""))
    if (projector, width) != ("qwen2.5vl_merger", 3584):
        assert reading.problem is not None
        assert "mmproj" in reading.problem.params["what"]
        return
    assert reading.model is not None
    model = reading.model
    assert (model.kind, model.family) == (ModelKind.TEXT_ENCODER, "qwen2.5-vl-7b")
    assert model.variant == EYES_ALONE


KNOWN = {known.name: known for known in headers.read()}
FAST = ("flux-dev", "sd1", "sdxl", "z-image-original", "t5xxl", "vae-that-says-flux")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
        for name, known in KNOWN.items()
        if known.kind in ("checkpoint", "vae", "controlnet", "text_encoder")
    ],
)
def test_files_of_true_size_are_told_as_those_in_safetensors(name: str, tmp_path: Path) -> None:
    known = KNOWN[name]
    shapes = {tensor: shape for tensor, (_, shape) in known.tensors.items()}
    names = list(shapes)
    is_t5 = known.kind == "text_encoder" and any("SelfAttention" in tensor for tensor in names)
    if is_t5:
        shapes = {as_llama_cpp(tensor): shape for tensor, shape in shapes.items()}
    keys = [key(name, text) for name, text in known.metadata.items()]
    architecture = "t5encoder" if is_t5 else "flux"
    file = write_empty(tmp_path / "a.gguf", shapes, architecture, "Q8_0", keys)
    (tmp_path / "b").mkdir()
    plain = known.write(tmp_path / "b" / "a.safetensors")
    found, wanted = (ModelReader().read(Candidate(path, path.parent, "")) for path in (file, plain))
    assert told(found) == told(wanted)


def told(reading: Reading) -> tuple[str, ...]:
    """What is said of a file beside its size and how its weights are kept."""
    if reading.model is None:
        assert reading.problem is not None
        return (reading.problem.code, *reading.problem.params.get("why", ""))
    model = reading.model
    return (str(model.kind), model.family, model.variant, *map(str, model.carries))


def test_a_lora_in_gguf_is_refused(tmp_path: Path) -> None:
    file = write_empty(tmp_path / "style.gguf", kohya(768))
    reading = ModelReader().read(Candidate(file, tmp_path, ""))
    assert reading.problem is not None
    assert "a GGUF file of a lora" in reading.problem.params["what"]


WRONG: tuple[tuple[bytes, str], ...] = (
    (file_of([], [WEIGHT], bytes(68), version=1), "GGUF of version 1, and 2 and 3 are read"),
    (file_of([], [WEIGHT], bytes(68), version=4), "GGUF of version 4"),
    (file_of([], [WEIGHT], bytes(68), version=3 << 24), "the other byte order"),
    (file_of([], [WEIGHT], bytes(60)), "8 bytes are missing at its end"),
    (file_of([], [WEIGHT], bytes(100)), "goes on for 32 bytes too many"),
    (file_of([], [WEIGHT], bytes(68))[:50], "cut off"),
    (file_of([], []), "no tensors"),
    (file_of([], [WEIGHT], bytes(68), counts=(2**60, 0)), "no model has over"),
    (file_of([], [WEIGHT], bytes(68), counts=(1, 2**60)), "no model has over"),
    (file_of([], [WEIGHT, WEIGHT], bytes(68)), "one behind the other"),
    (file_of([], [WEIGHT, WEIGHT[:-8] + struct.pack("<Q", 96)], bytes(164)), "have one name"),
    (file_of([], [entry("a", (32, 2), 8, 1)], bytes(69)), "one behind the other"),
    (file_of([], [entry("a", (33, 2), 8, 0)], bytes(68)), "no whole blocks of Q8_0"),
    (file_of([], [entry("a\nb", (32, 2), 999, 0)], bytes(68)), r"a\nb is of the type 999"),
    (file_of([], [entry("a", (32,) * 7, 8, 0)], bytes(68)), "7 sides"),
    (file_of([], [entry("a", (32, 2**63), 8, 0)], bytes(68)), "bytes are missing"),
    (file_of([], [entry("a" * 2000, (32,), 8, 0)], bytes(34)), "over 1024 bytes"),
    (file_of([], [entry(b"\xff", (32,), 8, 0)], bytes(34)), "no text"),
    (file_of([key("split.count", 3)], [WEIGHT], bytes(68)), "one of 3 pieces"),
    (file_of([key("general.alignment", 33)], [WEIGHT], bytes(68)), "alignment"),
    (file_of([key("general.alignment", 0)], [WEIGHT], bytes(68)), "alignment"),
    (file_of([key("a", struct.pack("<I", 99))], [WEIGHT], bytes(68)), "unknown type 99"),
    (file_of([key("a", struct.pack("<IIQ", 9, 9, 1))], [WEIGHT], b""), "unknown type 9"),
    (file_of([key("a", struct.pack("<IIQ", 9, 8, 2**60))], [WEIGHT], b""), "texts"),
    (file_of([key("a", struct.pack("<IIQ", 9, 0, 2**60))], [WEIGHT], b""), "no model's has"),
    (file_of([key("a", struct.pack("<IQ", 8, 2**63))], [WEIGHT], b""), "no model's has"),
    (
        file_of([key("comfy.gguf.orig_shape.a", [5, 5])], [entry("a", (32,), 8, 0)], bytes(34)),
        "another size than its own shape",
    ),
    (
        file_of([key("comfy.gguf.orig_shape.a", [-4, -8])], [entry("a", (32,), 8, 0)], b""),
        "another size than its own shape",
    ),
)


@pytest.mark.parametrize(("content", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    told = why(content, tmp_path)
    assert said in told
    assert "\n" not in told
    assert str(tmp_path) not in told


def test_a_file_that_is_something_else(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64
    for content, code in (
        (b"<!DOCTYPE html><html>" + bytes(90), "model_page"),
        (b"PK\x03\x04" + bytes(90), "model_misnamed"),
        (pointer, "model_lfs_pointer"),
        (b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ", "model_broken"),
        (b"", "model_broken"),
    ):
        reading = reading_of(content, tmp_path)
        assert reading.problem is not None
        assert reading.problem.code == code


def test_a_header_of_any_size_is_read_up_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vocabulary is passed over; what goes on without end is not read to its end."""
    words = b"".join(text("word") for _ in range(5000))
    vocabulary = key("words", struct.pack("<IIQ", 9, 8, 5000) + words)
    content = file_of([vocabulary], [WEIGHT], bytes(68))
    assert reading_of(content, tmp_path).model is not None
    monkeypatch.setattr(gguf_header, "HEADER_MAX", 40_000)
    assert "no model's has" in why(content, tmp_path)


def test_files_cut_and_changed_anywhere_raise_nothing_else(tmp_path: Path) -> None:
    keys = [key("general.architecture", "flux"), key("comfy.gguf.orig_shape.b", [4, 8])]
    whole = file_of(keys, [WEIGHT, entry("b", (32,), 2, 96)], bytes(114))
    file = tmp_path / "a.gguf"
    file.write_bytes(whole)
    assert read_gguf(file).shapes["b"] == (4, 8)
    chance = random.Random(7)
    for _ in range(150):
        changed = bytearray(whole[: chance.choice((len(whole), chance.randrange(len(whole))))])
        for _ in range(chance.randint(0, 3) if changed else 0):
            changed[chance.randrange(len(changed))] = chance.choice((0, 1, 8, 9, 127, 255))
        file.write_bytes(bytes(changed))
        try:
            read_gguf(file)
        except HeaderError as error:
            assert "\n" not in str(error)  # noqa: PT017 - many pass, and none may raise another
        assert ModelReader().read(Candidate(file, tmp_path, "")).lasting


def test_the_last_tensor_may_be_filled_up(tmp_path: Path) -> None:
    for size in (68, 96):
        assert reading_of(file_of([], [WEIGHT], bytes(size)), tmp_path).model is not None


def test_what_is_written_is_found_again(tmp_path: Path) -> None:
    file = write(tmp_path / "a.gguf", {"a": ("F32", (2, 3), bytes(24)), "b": ("F16", (), b"ab")})
    header = read_gguf(file)
    assert header.shapes == {"a": (2, 3), "b": ()}
    assert file.read_bytes()[header.tensors["b"].begin :][:2] == b"ab"
