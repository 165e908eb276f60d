"""Files that are no models, or not what they say: one line each, and the others are found."""

import json
import os
import random
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bot.locales import Texts
from generation import catalog_cache, model_folders, safetensors_header
from generation.catalog import Catalog
from generation.catalog_cache import CatalogCache
from generation.messages import Generate, frame
from generation.models import ModelKind
from generation.preset import Preset
from generation.preset_files import to_toml
from generation.regular_files import NotRegularError, open_regular, printable, read_regular
from generation.thumbnails import thumbnail_of
from tests.fixtures.requests import a_request
from tests.unit.generation.test_catalog import (
    SD1,
    SDXL,
    kohya,
    scan,
    write,
    write_folder,
    write_json,
)

GBK = b"\xb1\xed\xff"
posix = pytest.mark.skipif(os.name != "posix", reason="only POSIX has such files")
linux = pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes, and /proc")
MUTATIONS = 300
MUTATIONS_SLOW = 10_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with one good checkpoint, which every scan must list."""
    write(tmp_path / "checkpoints" / "good.safetensors", SD1)
    return tmp_path


async def troubles(root: Path) -> list[tuple[str, str]]:
    """The codes of all problems and what each names; the good checkpoint must be listed."""
    found = await scan(root)
    assert "good" in [model.name for model in found.checkpoints]
    texts = Texts("en-US")
    for trouble in found.problems:
        sentence = texts(trouble.code, **trouble.params)
        assert sentence.isprintable()
        f"{trouble.where} {sentence}".encode()
    return [(p.code, p.params.get("file", p.params.get("folder", ""))) for p in found.problems]


@linux
async def test_names_that_are_not_utf_8(root: Path) -> None:
    def under(folder: Path, name: bytes) -> Path:
        return Path(os.fsdecode(os.fsencode(folder) + b"/" + name))

    write(under(root / "checkpoints", GBK + b".safetensors"), SD1)
    write(under(root, GBK) / "inside.safetensors", SD1)
    write_folder(root / "folder")
    write(under(root / "folder" / "unet", GBK + b".safetensors"), {"weight": (2, 2)})
    found = await troubles(root)
    shown = r"\xb1\xed\xff"
    assert sorted(found) == [
        ("name_not_text", shown),
        ("name_not_text", f"{shown}.safetensors"),
        ("name_not_text", f"{shown}.safetensors"),
    ]
    alone = await scan(under(root, GBK))
    assert [trouble.code for trouble in alone.problems] == ["name_not_text"]


@linux
async def test_what_is_listed_can_be_stored_and_sent_whatever_its_name(root: Path) -> None:
    names = ["a\nb", "bell\x07", "turned\u202egpj", "\u2028", "’ \u3000", "é".encode().decode()]
    for name in names:
        write(root / "loras" / f"{name}.safetensors", kohya(768))
    catalog = await scan(root)
    assert len(catalog.loras) == len(names)
    (good,) = catalog.checkpoints
    for lora in catalog.loras:
        assert not set(lora.name) & set("\n\x07\u202e\u2028")
        assert catalog.get(ModelKind.LORA, lora.name) is lora
        json.dumps(lora.name, ensure_ascii=False).encode()
        to_toml([Preset(name="a", model=lora.name)])
        frame(Generate("1", a_request(), checkpoint=good, loras=(lora,)))


@posix
@pytest.mark.parametrize("name", ["a.safetensors", "a.ckpt", "diffusers/vae/a.safetensors"])
async def test_pipes_sockets_and_devices_are_not_opened(root: Path, name: str) -> None:
    write_folder(root / "diffusers")
    os.mkfifo(root / name)
    assert [code for code, _ in await troubles(root)] == ["model_not_regular"]


@posix
async def test_a_socket_and_links_to_devices(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.safetensors")
        (root / "zero.safetensors").symlink_to("/dev/zero")
        (root / "zeros").symlink_to("/dev")
        assert sorted(await troubles(root)) == [
            ("model_not_regular", "socket.safetensors"),
            ("model_not_regular", "zero.safetensors"),
        ]


@posix
@pytest.mark.parametrize(
    "name", ["model_index.json", "config.json", "unet/config.json", "vocabulary.json"]
)
async def test_a_pipe_in_the_place_of_a_folders_json(root: Path, name: str) -> None:
    folder = write_folder(root / "diffusers")
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert [code for code, _ in await troubles(root)] == ["model_not_regular"]


@linux
async def test_links_into_the_machine_and_in_circles(root: Path) -> None:
    for name, target in (("self", "/proc/self"), ("sys", "/sys"), ("here", ".")):
        (root / name).symlink_to(target)
    (root / "checkpoints" / "up").symlink_to(root)
    (root / "maps.safetensors").symlink_to("/proc/self/maps")
    deep = root
    for number in range(40):
        deep = deep / str(number)
    deep.mkdir(parents=True)
    folder = write_folder(root / "diffusers")
    (folder / "unet" / "round").symlink_to(folder)
    found = await troubles(root)
    assert [code for code, _ in found] == ["folder_too_deep", "model_broken"]
    assert "diffusers" in [model.name for model in (await scan(root)).checkpoints]


async def test_a_crowded_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_folders, "ENTRIES_MAX", 50)
    (root / "many").mkdir()
    for number in range(60):
        (root / "many" / f"{number}.txt").touch()
    assert [code for code, _ in await troubles(root)] == ["folder_crowded"]
    monkeypatch.undo()
    (root / "many").rename(root / ".many")
    monkeypatch.setattr(model_folders, "FILES_MAX", 50)
    folder = write_folder(root / "diffusers")
    for number in range(60):
        (folder / f"{number}.txt").touch()
    assert await troubles(root) == [("folder_crowded", str(folder))]


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may read everything")
async def test_what_may_not_be_read_is_looked_at_again(root: Path) -> None:
    file = write(root / "closed.safetensors", SD1)
    file.chmod(0)
    catalog = await scan(root)
    assert [trouble.code for trouble in catalog.problems] == ["model_unreadable"]
    file.chmod(0o600)
    await catalog.scan()
    assert catalog.problems == ()


async def test_a_fault_of_the_disk_is_looked_at_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root / "far.safetensors", SD1)

    def failing(path: Path) -> Any:
        if path.name == "far.safetensors":
            raise PermissionError(13, "Permission denied")
        return open_regular(path)

    monkeypatch.setattr(safetensors_header, "open_regular", failing)
    catalog = Catalog([root], root / "cache" / "models.msgpack")
    await catalog.scan()
    assert [trouble.code for trouble in catalog.problems] == ["model_unreadable"]
    monkeypatch.undo()
    again = Catalog([root], root / "cache" / "models.msgpack")
    await again.scan()
    await catalog.scan()
    assert catalog.problems == again.problems == ()


async def test_files_that_vanish_while_they_are_read(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        write(root / "going" / f"{number}.safetensors", SD1)

    def going(path: Path) -> Any:
        if path.parent.name == "going":
            path.unlink()
        return open_regular(path)

    monkeypatch.setattr(safetensors_header, "open_regular", going)
    assert await troubles(root) == []


@posix
async def test_a_pipe_put_in_a_files_place_after_the_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "a")
    (tmp_path / "b").touch()
    as_it_was = (tmp_path / "b").stat()
    monkeypatch.setattr(Path, "stat", lambda *_, **__: as_it_was)
    with pytest.raises(NotRegularError):
        read_regular(tmp_path / "a", 10)


def header(text: str | bytes, weights: int = 2) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return len(raw).to_bytes(8, "little") + raw + bytes(weights)


def tensor(shape: str = "[1, 1]", offsets: str = "[0, 2]") -> str:
    return (
        f'{{"lora_te_a.lora_down.weight":'
        f' {{"dtype": "F16", "shape": {shape}, "data_offsets": {offsets}}}}}'
    )


@pytest.mark.parametrize(
    "content",
    [
        (2**63).to_bytes(8, "little") + b"{}",
        (2**64 - 1).to_bytes(8, "little") + b"{}" * 100,
        header(tensor(offsets="null")),
        header(tensor(offsets="[null, null]")),
        header(tensor(offsets="[0]")),
        header(tensor(offsets="[2, 0]")),
        header(tensor(offsets="[-2, 0]")),
        header(tensor(offsets='["0", "2"]')),
        header(tensor(offsets=f"[0, {10**400}]")),
        header(tensor(offsets=f"[0, {'9' * 5000}]")),
        header(tensor(shape="[-1, 1]")),
        header(tensor(shape="[1.5, 1]")),
        header(tensor(shape="[null]")),
        header(tensor(shape='"12"')),
        header(tensor(shape="[" * 1000 + "]" * 1000)),
        header('{"a": ' + "{".join(['"a": '] * 2000)),
        header('{"__metadata__": ' + "[" * 100_000),
        header('{"__metadata__": {"a": ' + '{"a": ' * 5000 + "1" + "}" * 5002),
        header('{"lora_te_a.lora_down.weight": null}'),
        header(tensor()[:-1] + ", " + tensor()[1:], 4),  # the same name twice
        header(tensor()[:-1] + ", " + tensor()[1:].replace("te_a", "te_b")),  # overlapping
        header(tensor(offsets="[2, 4]"), 4),  # a hole
        header(tensor(), 0),
        header(tensor(), 9),
        header(b'{"\xff": {"shape": [1], "data_offsets": [0, 2]}}'),
        header("[]"),
        header("null"),
    ],
)
async def test_headers_that_no_reader_would_take(root: Path, content: bytes) -> None:
    (root / "bad.safetensors").write_bytes(content)
    assert await troubles(root) == [("model_broken", "bad.safetensors")]


async def test_a_header_of_an_absurd_length_is_not_read(root: Path) -> None:
    with (root / "huge.safetensors").open("wb") as file:
        file.write((90 * 10**6).to_bytes(8, "little"))
        file.truncate(10**9)
    (found,) = (await scan(root)).problems
    assert "no model's has over" in found.params["why"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"ss_tag_frequency": 5},
        {"ss_tag_frequency": '{"a": {"b": "9"}}'},
        {"ss_tag_frequency": '{"a": 5}'},
        {"ss_tag_frequency": '{"a": {"b": null, "c": [1], "d": 1e400}}'},
        {"ss_tag_frequency": "[" * 5000},
        {"ss_base_model_version": 1.5, "modelspec.prediction_type": ["v"]},
        {"modelspec.trigger_phrase": {"a": 1}},
        {"modelspec.trigger_phrase": ",,, ,"},
    ],
)
async def test_metadata_of_another_type_is_passed_over(
    root: Path, metadata: dict[str, object]
) -> None:
    text = f'{{"__metadata__": {json.dumps(metadata)}, {tensor()[1:]}'
    (root / "odd.safetensors").write_bytes(header(text))
    (lora,) = (await scan(root)).loras
    assert (lora.name, lora.trigger_words, lora.v_prediction) == ("odd", (), None)


async def test_metadata_is_read_wherever_it_stands(root: Path) -> None:
    said = '"__metadata__": {"ss_base_model_version": "sdxl", "a": "} \\" {"}'
    (root / "first.safetensors").write_bytes(header(f"{{{said}, {tensor()[1:]}"))
    (root / "last.safetensors").write_bytes(header(f"{tensor()[:-1]}, {said}}}"))
    assert [lora.family for lora in (await scan(root)).loras] == ["sdxl", "sdxl"]


JSON = (
    "model_index.json",
    "unet/config.json",
    "vae/config.json",
    "scheduler/scheduler_config.json",
)


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize(
    "content", ["[]", "null", "5", '"a"', "", "{", "\x00", "[" * 5000, "9" * 5000]
)
async def test_a_folders_json_that_is_none(root: Path, name: str, content: str) -> None:
    (write_folder(root / "folder") / name).write_text(content)
    assert [code for code, _ in await troubles(root)] == ["model_broken"]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("unet/config.json", {"sample_size": "64"}),
        ("unet/config.json", {"sample_size": -8}),
        ("unet/config.json", {"sample_size": 10**9}),
        ("unet/config.json", {"cross_attention_dim": "768"}),
        ("vae/config.json", {"block_out_channels": 4}),
        ("vae/config.json", {"block_out_channels": [1] * 5000}),
        ("scheduler/scheduler_config.json", {"prediction_type": 5}),
    ],
)
async def test_settings_of_another_type(root: Path, name: str, settings: dict[str, Any]) -> None:
    write_json(write_folder(root / "folder") / name, **settings)
    assert await troubles(root) == [("model_broken", "folder")]


async def test_numbers_that_only_python_writes_are_read(root: Path) -> None:
    folder = write_folder(root / "folder")
    scheduler = folder / "scheduler" / "scheduler_config.json"
    write_json(scheduler, lambda_min_clipped=float("-inf"))
    assert "-Infinity" in scheduler.read_text()
    assert await troubles(root) == []


async def test_a_class_of_ones_own_is_told_by_its_parts(root: Path) -> None:
    own = write_folder(root / "own")
    write_json(own / "model_index.json", _class_name=["mine", "Pipeline"])
    assert await troubles(root) == []
    write_json(own / "unet" / "config.json", _class_name="UNetMine")
    assert await troubles(root) == [("model_other", "own")]


async def test_shards_that_an_index_names_must_be_there(root: Path) -> None:
    folder = write_folder(root / "folder")
    index = folder / "unet" / "model.safetensors.index.json"
    write_json(index, weight_map={"weight": "model.safetensors"})
    assert await troubles(root) == []
    write_json(index, weight_map={"weight": "model.safetensors", "b": "../../two.safetensors"})
    assert [code for code, _ in await troubles(root)] == ["model_broken"]
    write_json(index, weight_map=["model.safetensors"])
    assert [code for code, _ in await troubles(root)] == ["model_broken"]


async def test_an_index_beside_single_files_is_no_model(root: Path) -> None:
    write_json(root / "checkpoints" / "a.safetensors.index.json", weight_map=5)
    assert await troubles(root) == []


@posix
async def test_a_thumbnail_is_a_regular_file_of_bounded_size(root: Path) -> None:
    (good,) = (await scan(root)).checkpoints
    preview = good.path.with_name("good.preview.png")
    os.mkfifo(preview)
    assert thumbnail_of(good) is None
    preview.unlink()
    preview.symlink_to("/dev/zero")
    assert thumbnail_of(good) is None
    preview.unlink()
    with preview.open("wb") as file:
        file.truncate(10**9)
    assert thumbnail_of(good) is None
    os.truncate(preview, 1000)
    assert thumbnail_of(good) == preview


def test_printable_names() -> None:
    assert printable("模型 v1.5é") == "模型 v1.5é"
    assert printable("a\tb\u202e") == r"a\tb\u202e"
    assert printable(os.fsdecode(b"\xff.safetensors")).encode().endswith(b".safetensors")


def mutated(chance: random.Random) -> Iterator[bytes]:
    """Headers and JSON with bytes changed, cut, doubled and swapped for hostile pieces."""
    texts = [
        json.dumps(
            {
                "__metadata__": {
                    "ss_tag_frequency": '{"a": {"b": 1}}',
                    "format": "pt",
                },
                **{
                    name: {"dtype": "F16", "shape": list(shape), "data_offsets": [0, 2]}
                    for name, shape in shapes.items()
                },
            }
        ).encode()
        for shapes in (SD1, SDXL, kohya(768))
    ]
    texts.append(b'{"_class_name": "AutoencoderKL", "sample_size": 64, "latent_channels": 4}')
    pieces = [b"null", b"-1", b"1e999", b"[", b"]", b"{", b"}", b'"', b"\\", b"\xff", b"9" * 5000]
    pieces += [b"[" * 2000, b"true", b"\x00", b'"\\ud800"', b"0.5", b'"shape"', b",", b"\n"]
    while True:
        text = bytearray(chance.choice(texts))
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(text) + 1)
            match chance.randrange(4):
                case 0:
                    text[at : at + chance.randint(0, 9)] = chance.choice(pieces)
                case 1:
                    del text[at : at + chance.randint(1, 40)]
                case 2:
                    text[at:at] = text[max(0, at - chance.randint(1, 60)) : at]
                case 3:
                    text[at : at + 1] = bytes((chance.randrange(256),))
        yield bytes(text)


async def _fuzz(root: Path, count: int, seed: int) -> None:
    """Each mutation as a header, as a folder's config.json and as settings beside a model."""
    chance = random.Random(seed)
    texts = mutated(chance)
    folder = write_folder(root / "folder")
    for number in range(count):
        text = next(texts)
        length = chance.choice((len(text), len(text), len(text) + 1, chance.getrandbits(64)))
        raw = length.to_bytes(8, "little") + text + bytes(2)
        (root / "a.safetensors").write_bytes(raw)
        (folder / chance.choice(JSON)).write_bytes(text)
        (root / "part").mkdir(exist_ok=True)
        (root / "part" / "config.json").write_bytes(text)
        (root / "checkpoints" / "good.darkroom.toml").write_bytes(text)
        found = await troubles(root)
        assert all(code in KNOWN for code, _ in found), found
        if number % 50 == 0:
            for name in JSON:
                (folder / name).unlink(missing_ok=True)
            write_folder(folder)


MODEL = {"kind": "lora", "name": "a", "family": "sd1"}


def msgpack_of(content: object) -> bytes:
    return msgspec.msgpack.encode(content)


KNOWN = {
    "model_broken",
    "model_unknown_layout",
    "model_settings_wrong",
    "model_page",
    "model_pickle",
    "model_other",
    "model_misnamed",
    "model_variant",
}


@pytest.mark.slow
async def test_mutated_headers_and_settings(root: Path) -> None:
    await _fuzz(root, MUTATIONS, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_ten_thousand_mutated_headers_and_settings(root: Path) -> None:
    await _fuzz(root, MUTATIONS_SLOW, seed=2)


async def test_a_broken_cache_is_not_believed(root: Path) -> None:
    file = root / "cache" / "models.msgpack"
    catalog = Catalog([root / "checkpoints"], file)
    await catalog.scan()
    whole = file.read_bytes()
    chance = random.Random(3)
    for _ in range(MUTATIONS):
        content = bytearray(whole)
        content[chance.randrange(len(content))] = chance.randrange(256)
        content = content[: chance.randrange(len(content) // 2, len(content) + 1)]
        file.write_bytes(content)
        assert bytes(content) == whole or CatalogCache(file).load() == {}
    readings = CatalogCache(file)
    for body in (b"", b"[" * 100_000, msgpack_of(5), msgpack_of({"version": 1, "readings": []})):
        file.write_bytes(catalog_cache._digest(body) + body)
        assert readings.load() == {}
    odd = {"version": "", "readings": {"a": ["", {"model": {**MODEL, "path": 5}}]}}
    file.write_bytes(catalog_cache._digest(msgpack_of(odd)) + msgpack_of(odd))
    assert readings.load() == {}
    again = Catalog([root / "checkpoints"], file)
    await again.scan()
    assert [model.name for model in again.all] == ["good"]
    assert CatalogCache(file).load()
    assert threading.active_count() < 20
