"""ONNX files in the catalogue: told by what goes in and comes out, hostile ones refused."""

import contextlib
import random
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import external_data_helper

from bot.locales import Texts
from generation.catalog import Catalog
from generation.model_folders import Candidate
from generation.model_reader import ModelReader, Reading
from generation.models import ModelFile, ModelKind
from generation.onnx_header import OnnxPort, read_onnx
from generation.refusal import Refused
from generation.safetensors_header import HeaderError
from tests.fixtures.onnx_files import WD_TAGS, classifier, network, wd_tags, write_wd_tagger

SECONDS = 1.0
"""For a file that is made to take long."""


def wd() -> onnx.ModelProto:
    return classifier("input", ("batch_size", 448, 448, 3), len(WD_TAGS))


def reading_of(content: bytes, folder: Path) -> Reading:
    file = folder / "odd.onnx"
    file.write_bytes(content)
    return ModelReader().read(Candidate(file, folder, ""))


def why(content: bytes, folder: Path) -> tuple[str, str]:
    """The code and what is said of a file that is refused, as people read it."""
    reading = reading_of(content, folder)
    assert reading.model is None
    assert reading.problem is not None
    problem = reading.problem
    return problem.code, Texts("en-US")(problem.code, **problem.params)


async def found_in(root: Path) -> Catalog:
    catalog = Catalog([root])
    await catalog.scan()
    return catalog


def varint(number: int) -> bytes:
    content = bytearray()
    while number > 0x7F:
        content.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*content, number))


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def test_a_file_of_the_library_is_read_as_the_library_wrote_it(tmp_path: Path) -> None:
    weights = {"w": np.zeros((300, 400), np.float32), "b": np.zeros(3, np.float32)}
    inputs = {"picture": ("batch", 448, 448, 3), "size": (2,), "w": (300, 400)}
    outputs = {"probabilities": ("batch", 9), "mask": (1, 1, "height", "width"), "one": ()}
    onnx.save(network(inputs, outputs, weights, metadata={"a": "1"}), tmp_path / "a.onnx")
    header = read_onnx(tmp_path / "a.onnx")
    # what older files list among the inputs are weights
    assert header.inputs == (
        OnnxPort("picture", "float32", (0, 448, 448, 3)),
        OnnxPort("size", "float32", (2,)),
    )
    assert header.outputs == (
        OnnxPort("probabilities", "float32", (0, 9)),
        OnnxPort("mask", "float32", (1, 1, 0, 0)),
        OnnxPort("one", "float32", ()),
    )
    assert (header.producer, header.metadata, header.external) == ("tests", {"a": "1"}, ())


def test_weights_are_passed_over(tmp_path: Path) -> None:
    model = network({"a": (1,)}, {"b": (1,)}, {"w": np.zeros(2**20, np.float32)})
    content = model.SerializeToString()
    # weights that can't be read are no trouble, for nobody reads them
    file = tmp_path / "a.onnx"
    file.write_bytes(content)
    with file.open("r+b") as hole:
        hole.seek(len(content) // 2)
        hole.write(b"\xff" * 2**20)
    assert read_onnx(file).outputs == (OnnxPort("b", "float32", (1,)),)


async def test_taggers_as_people_have_them(tmp_path: Path) -> None:
    """As the hub, ComfyUI's nodes and A1111's extension lay them out."""
    write_wd_tagger(tmp_path / "TaggerOnnx" / "wd-vit-tagger-v3")
    comfy = tmp_path / "wd14_tagger"
    comfy.mkdir()
    onnx.save(wd(), comfy / "wd-v1-4-moat-tagger-v2.onnx")
    (comfy / "wd-v1-4-moat-tagger-v2.csv").write_text(wd_tags())
    tags = {
        f"{n}.onnx": classifier("input", ("batch", 3, 448, 448), 2) for n in ("joy", "cl", "pixai")
    }
    for name, model in tags.items():
        (tmp_path / name).mkdir()
        onnx.save(model, tmp_path / name / "model.onnx")
    (tmp_path / "joy.onnx" / "top_tags.txt").write_text("1girl\nsolo\n")
    mapping = (
        '{"1": {"tag": "solo", "category": "General"}, "0": {"tag": "safe", "category": "Rating"}}'
    )
    (tmp_path / "cl.onnx" / "tag_mapping.json").write_text(mapping)
    csv = 'id,tag_id,name,category,count,ips\n0,1,1girl,0,3,"[]"\n1,2,saber,4,3,[]\n'
    (tmp_path / "pixai.onnx" / "selected_tags.csv").write_text(csv)
    old = classifier("input_1", ("n", 512, 512, 3), 3)
    onnx.save(old, tmp_path / "deepdanbooru.onnx")
    (tmp_path / "tags.txt").write_text("1girl\nsolo\nrating:safe\n")
    catalog = await found_in(tmp_path)
    assert [(model.name, model.family, model.variant) for model in catalog.taggers] == [
        ("cl.onnx", "cl", "rating"),
        ("deepdanbooru", "deepdanbooru", "rating"),
        ("joy.onnx", "joytag", ""),
        ("pixai.onnx", "pixai", ""),
        ("wd-v1-4-moat-tagger-v2", "wd", "rating"),
        ("wd-vit-tagger-v3", "wd", "rating"),
    ]
    assert catalog.problems == ()
    found = catalog.get(ModelKind.TAGGER, "WD-vit-tagger-v3.onnx")
    assert (found.shown, found.is_folder) == ("model.onnx", False)
    assert found.labels == found.path.with_name("selected_tags.csv")
    with pytest.raises(Refused) as refused:
        catalog.get(ModelKind.TAGGER, "wd-vit")
    assert refused.value.code == "tagger_unknown"


async def test_what_is_kept_of_a_tagger_holds_until_its_tags_change(tmp_path: Path) -> None:
    models, cache = tmp_path / "models", tmp_path / "cache"
    file = write_wd_tagger(models / "wd")
    (models / "wd" / "selected_tags.csv").unlink()

    async def scanned() -> Catalog:
        catalog = Catalog([models], cache)
        await catalog.scan()
        return catalog

    # eleven numbers: another network than a tagger whose list is lost
    assert [problem.code for problem in (await scanned()).problems] == ["model_unknown_layout"]
    (models / "wd" / "selected_tags.csv").write_text(wd_tags())
    assert [model.path for model in (await scanned()).taggers] == [file]
    assert (await scanned()).taggers == (await scanned()).taggers
    (models / "wd" / "selected_tags.csv").write_text(wd_tags(WD_TAGS[:-1]))
    catalog = await scanned()
    assert catalog.taggers == []
    (problem,) = catalog.problems
    said = Texts("en-US")(problem.code, **problem.params)
    assert said == (
        "model.onnx can't be used: selected_tags.csv beside it is not the list of its tags, for it"
        " has 10 tags, and the network gives 11 numbers. Take both from the same download."
    )


def test_a_tagger_without_its_tags_says_so(tmp_path: Path) -> None:
    for classes in (10861, "classes"):
        model = network({"input": ("n", 448, 448, 3)}, {"output": ("n", classes)})
        code, said = why(model.SerializeToString(), tmp_path)
        assert code == "model_labels_missing"
        assert "put selected_tags.csv from the same download into its folder" in said
    faces = network({"input": ("n", 3, 112, 112)}, {"embedding": ("n", 512)})
    assert why(faces.SerializeToString(), tmp_path)[0] == "model_unknown_layout"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("selected_tags.csv", "a,b\n1,2\n", "no columns name and category"),
        ("selected_tags.csv", "name,category\n", "no tags are in it"),
        ("selected_tags.csv", 'name,category\n"' + "a" * 200_000, "it is no CSV file"),
        ("selected_tags.csv", f"name,category\n{'a' * 400},0\n", "one of its tags is no word"),
        ("selected_tags.csv", "name,category\n" + "a,0\n" * 200_001, "over 200000 lines"),
        ("selected_tags.csv", b"\xff\xfe\x00", "no text in UTF-8"),
        ("selected_tags.csv", b"a" * (16 * 2**20 + 1), "larger than any list of tags"),
        ("tags.txt", "", "no tags are in it"),
    ],
)
async def test_lists_of_tags_that_are_none(
    name: str, content: str | bytes, says: str, tmp_path: Path
) -> None:
    onnx.save(wd(), tmp_path / "wd.onnx")
    raw = content if isinstance(content, bytes) else content.encode()
    (tmp_path / name).write_bytes(raw)
    catalog = await found_in(tmp_path)
    (problem,) = catalog.problems
    assert says in Texts("en-US")(problem.code, **problem.params)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "no JSON"),
        ("[1]", "no JSON"),
        ('{"0": 1}', "no JSON"),
        ('{"1": {"tag": "a", "category": "General"}}', "some of its tags are missing"),
        ('{"a": {"tag": "a", "category": "General"}}', "no JSON"),
        ('{"idx_to_tag": 3}', "no JSON"),
        ("[" * 10_000, "no JSON"),
    ],
)
async def test_lists_in_json_that_are_none(content: str, says: str, tmp_path: Path) -> None:
    onnx.save(classifier("input", ("n", 3, 448, 448), 1), tmp_path / "cl.onnx")
    (tmp_path / "tag_mapping.json").write_text(content)
    catalog = await found_in(tmp_path)
    (problem,) = catalog.problems
    assert says in Texts("en-US")(problem.code, **problem.params)


async def test_weights_in_a_file_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "big"
    folder.mkdir()
    model = wd()
    external_data_helper.convert_model_to_external_data(
        model, location="model.onnx_data", size_threshold=0
    )
    onnx.save(model, folder / "model.onnx")
    (folder / "selected_tags.csv").write_text(wd_tags())
    (found,) = (await found_in(tmp_path)).taggers
    there = (folder / "model.onnx").stat().st_size + (folder / "model.onnx_data").stat().st_size
    assert found.size == there
    (folder / "model.onnx_data").unlink()
    (problem,) = (await found_in(tmp_path)).problems
    assert (
        problem.params["why"] == "its weights lie in model.onnx_data, which has to be put beside it"
    )


@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "a/../../b", "C:\\x", "..\\x"])
def test_weights_elsewhere_are_not_looked_for(place: str, tmp_path: Path) -> None:
    entry = field(1, b"location") + field(2, place.encode())
    graph = field(5, field(8, b"w") + field(13, entry)) + field(12, field(1, b"y"))
    code, said = why(b"\x08\x08" + field(7, graph) + OPERATORS, tmp_path)
    assert code == "model_broken"
    assert "is not beside it" in said


OPERATORS = field(8, b"\x10\x11")
OUTPUT = field(12, field(1, b"y"))
HOSTILE = {
    "no graph": (b"\x08\x08", "not written as an ONNX file"),
    "a graph that is a number": (b"\x08\x08\x38\x01", "not written as an ONNX file"),
    "no outputs": (b"\x08\x08" + field(7, field(2, b"name")) + OPERATORS, "no outputs"),
    "a length beyond its end": (b"\x08\x08\x3a\xff\xff\xff\xff\x7f", "it is cut off"),
    "a number without end": (b"\x08" + b"\xff" * 40, "not written as an ONNX file"),
    "a group": (b"\x08\x08\x3b\x3c", "not written as an ONNX file"),
    "an inner length beyond its outer": (
        b"\x08\x08" + field(7, b"\x0a\x7f" + b"a" * 4) + b"\0" * 200,
        "not written as an ONNX file",
    ),
    "more fields than any": (
        b"\x08\x08" + field(7, b"\x10\x00" * 300_000 + OUTPUT),
        "more parts than any model",
    ),
    "more outputs than any": (b"\x08\x08" + field(7, OUTPUT * 300), "more inputs than any model"),
    "sides without end": (
        b"\x08\x08" + field(7, field(12, field(2, field(1, field(2, field(1, b"") * 99))))),
        "more than 16 sides",
    ),
    "a name of a gigabyte": (
        b"\x08\x08" + field(7, b"\x62" + varint(2**30) + b"a"),
        "it is cut off",
    ),
    "a page": (b"<!doctype html><p>log in", "web page"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs"),
    "a checkpoint": (b"PK\x03\x04" + b"\0" * 40, "zip archive"),
    "nothing": (b"", "does not begin as an ONNX file"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_get_a_sentence(name: str, tmp_path: Path) -> None:
    content, says = HOSTILE[name]
    began = time.monotonic()
    assert says in why(content, tmp_path)[1]
    assert time.monotonic() - began < SECONDS


def test_a_hole_of_a_terabyte_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "hole.onnx"
    length = 2**40
    with file.open("wb") as out:
        weight = b"\x4a" + varint(length)  # raw_data
        begin = b"\x2a" + varint(len(weight) + length) + weight
        tail = OUTPUT
        out.write(b"\x08\x08\x3a" + varint(len(begin) + length + len(tail)) + begin)
        out.seek(length, 1)
        out.write(tail + OPERATORS)
    began = time.monotonic()
    assert read_onnx(file).outputs == (OnnxPort("y", "", ()),)
    assert time.monotonic() - began < SECONDS


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 4))]
)
def test_mutated_files_raise_nothing_else(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    content = wd().SerializeToString()
    file = tmp_path / "a.onnx"
    for _ in range(500):
        odd = bytearray(content)
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(len(odd))
            if chance.random() < 0.2:
                del odd[place:]
                break
            odd[place] = chance.randrange(256)
        file.write_bytes(odd)
        with contextlib.suppress(HeaderError):
            read_onnx(file)


def test_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    content = wd().SerializeToString()
    file = tmp_path / "a.onnx"
    for end in range(len(content) - 1):
        file.write_bytes(content[:end])
        with pytest.raises(HeaderError):
            read_onnx(file)


def test_a_file_of_another_kind_has_no_kind(tmp_path: Path) -> None:
    depth = network({"image": (1, 3, 518, 518)}, {"depth": (1, 518, 518)})
    assert why(depth.SerializeToString(), tmp_path)[0] == "model_unknown_layout"


def test_models_are_listed_whatever_their_folder(tmp_path: Path) -> None:
    file = write_wd_tagger(tmp_path)
    reading = ModelReader().read(
        Candidate(file, tmp_path, "", labels=(tmp_path / "selected_tags.csv",))
    )
    assert isinstance(reading.model, ModelFile)
    # in the model folder itself there is no folder of its name
    assert reading.model.name == "model"
