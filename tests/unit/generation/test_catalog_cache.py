"""What the catalogue knows over restarts, and while it looks for the first time."""

import asyncio
import os
import shutil
import threading
from pathlib import Path

import pytest

from generation import catalog as catalog_module
from generation import catalog_cache, families, model_probe, model_reader, safetensors_header
from generation.catalog import Catalog
from generation.completion import complete
from generation.model_folders import Candidate
from generation.model_reader import ModelReader, Reading
from generation.models import ModelKind
from generation.refusal import Refused
from generation.rules import Rules, default_model
from tests.unit.generation.test_catalog import SD1, SD2, kohya, write, write_folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A checkpoint, a folder of diffusers, a LoRA with trigger words and two problems."""
    root = tmp_path / "models"
    write(root / "one.safetensors", SD1)
    write_folder(root / "two")
    (root / "two" / "darkroom.toml").write_text("steps = 7")
    phrase = {"modelspec.trigger_phrase": "pixelated"}
    write(root / "loras" / "ink.safetensors", kohya(768), **phrase)
    (root / "old.ckpt").touch()
    (root / "broken.safetensors").write_bytes(b"?")
    return root


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where it is kept."""
    return tmp_path / "data" / "cache" / "models.msgpack"


async def scanned(models: Path, cache: Path) -> Catalog:
    catalog = Catalog([models], cache)
    await catalog.scan()
    return catalog


def read_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelReader, "read", lambda *_: pytest.fail("read again"))


async def test_a_restart_reads_nothing_again(
    models: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await scanned(models, cache)
    read_nothing(monkeypatch)
    again = await scanned(models, cache)
    assert again.all == first.all
    assert again.problems == first.problems
    assert len(again.all) == 3
    assert len(again.problems) == 2
    assert [file.name for file in cache.parent.iterdir()] == ["models.msgpack"]


async def test_what_changed_meanwhile_is_read(models: Path, cache: Path) -> None:
    await scanned(models, cache)
    write(models / "one.safetensors", SD2)
    (models / "two" / "darkroom.toml").write_text("steps = 9")
    (models / "broken.safetensors").unlink()
    again = await scanned(models, cache)
    one, two = again.checkpoints
    assert one.family == "sd2"
    assert two.defaults is not None
    assert two.defaults.steps == 9
    assert [problem.path.name for problem in again.problems] == ["old.ckpt"]
    os.utime(models / "one.safetensors", ns=(1, 1))
    await again.scan()
    assert again.checkpoints[0].family == "sd2"


async def test_what_another_version_kept_does_not_count(
    models: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scanned(models, cache)
    read: list[Path] = []
    real = ModelReader.read

    def counted(reader: ModelReader, found: Candidate) -> Reading:
        read.append(found.path)
        return real(reader, found)

    monkeypatch.setattr(ModelReader, "read", counted)
    await scanned(models, cache)
    assert read == []
    monkeypatch.setattr(catalog_cache, "_version", lambda: "another")
    await scanned(models, cache)
    assert len(read) == 5


async def test_the_version_is_that_of_the_code_that_reads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = catalog_cache._version()
    changed = tmp_path / "model_probe.py"
    changed.write_text("# another probe")
    monkeypatch.setattr(model_probe, "__file__", str(changed))
    assert catalog_cache._version() != before


def test_the_version_is_that_of_every_file_of_the_families(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = shutil.copytree(Path(families.__file__).parent, tmp_path / "families")
    monkeypatch.setattr(families, "__file__", str(package / "__init__.py"))
    before = catalog_cache._version()
    files = sorted(package.glob("*.py"))
    assert len(files) > 5
    for file in files:
        text = file.read_text()
        file.write_text(f"{text}# changed\n")
        assert catalog_cache._version() != before, file.name
        file.write_text(text)


async def test_a_cache_that_cannot_be_kept_stops_nothing(models: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    catalog = await scanned(models, tmp_path / "file" / "models.msgpack")
    assert len(catalog.all) == 3
    (models / "one.safetensors").unlink()
    await catalog.scan()
    assert len(catalog.all) == 2


async def test_no_more_is_kept_than_is_bounded(
    models: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_cache, "ENTRIES_MAX", 2)
    await scanned(models, cache)
    assert len(catalog_cache.CatalogCache(cache).load()) == 2
    monkeypatch.setattr(catalog_cache, "BYTES_MAX", 10)
    assert catalog_cache.CatalogCache(cache).load() == {}


async def test_nothing_is_written_where_nothing_changed(models: Path, cache: Path) -> None:
    catalog = await scanned(models, cache)
    cache.unlink()
    await catalog.scan()
    assert not cache.exists()


async def test_layouts_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []

    def counted(text: bytes) -> safetensors_header.Tensors:
        decoded.append(text)
        return safetensors_header.decode(text)

    monkeypatch.setattr(model_reader, "decode", counted)
    for number in range(20):
        write(tmp_path / f"{number}.safetensors", kohya(768), ss_output_name=str(number))
    write(tmp_path / "other.safetensors", kohya(1024), ss_output_name="other")
    cut = write(tmp_path / "cut.safetensors", kohya(768), ss_output_name="cut")
    os.truncate(cut, cut.stat().st_size - 1)
    catalog = Catalog([tmp_path])
    await catalog.scan()
    assert len(catalog.loras) == 21
    assert [problem.path.name for problem in catalog.problems] == ["cut.safetensors"]
    assert len(decoded) == 2


class Slow:
    """Holds a scan before the file of a name until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.reached, self.go = threading.Event(), threading.Event()
        real = ModelReader.read

        def read(reader: ModelReader, found: Candidate) -> Reading:
            if found.path.stem == name:
                self.reached.set()
                assert self.go.wait(60)
            return real(reader, found)

        monkeypatch.setattr(ModelReader, "read", read)
        monkeypatch.setattr(catalog_module, "SHOWN_FIRST", 0.0)
        monkeypatch.setattr(catalog_module, "SHOWN_AGAIN", 0.0)


async def test_what_is_found_is_there_while_the_first_scan_goes_on(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch, "one")
    catalog = Catalog([models])
    assert not await catalog.ready(0)
    scan = asyncio.create_task(catalog.scan())
    await asyncio.to_thread(slow.reached.wait, 60)
    assert not catalog.scanned
    assert [lora.name for lora in catalog.loras] == ["ink"]
    assert catalog.get(ModelKind.LORA, "ink").name == "ink"
    for ask in (
        lambda: catalog.get(ModelKind.CHECKPOINT, "one"),
        lambda: complete({"prompt": "a"}, catalog, Rules()),
        lambda: complete({"prompt": "a"}, catalog, Rules(default_model="one")),
    ):
        with pytest.raises(Refused, match="models_being_read"):
            ask()
    assert default_model(catalog, Rules()) == ""
    waiting = asyncio.create_task(catalog.ready(60))
    slow.go.set()
    assert await waiting
    await scan
    assert [model.name for model in catalog.checkpoints] == ["one", "two"]
    assert complete({"prompt": "a"}, catalog, Rules()).model == "one"


async def test_a_scan_that_is_cancelled_ends_and_shows_nothing(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch, "ink")
    catalog = Catalog([models])
    scan = asyncio.create_task(catalog.scan())
    await asyncio.to_thread(slow.reached.wait, 60)
    scan.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scan
    slow.go.set()
    for thread in threading.enumerate():
        if thread.name == "catalog":
            await asyncio.to_thread(thread.join)
    assert not catalog.scanned
    monkeypatch.undo()
    await catalog.scan()
    assert len(catalog.all) == 3


async def test_an_error_of_the_scan_is_raised_where_it_is_awaited(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(catalog_module, "Walk", fail)
    with pytest.raises(MemoryError):
        await Catalog([models]).scan()
