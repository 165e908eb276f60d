"""Models are fetched from a hub over loopback, by a process with the hub's own library."""

import argparse
import asyncio
import errno
import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.cli import fetch as command
from bot.config import Config, ModelsSettings
from bot.fetching import fetch_awaited, fetching
from generation.catalog import Catalog
from generation.hub import Fetched, FetchPlan, HuggingFaceSettings, NotFetched, read
from generation.hub_files import HubFile
from generation.model_settings import ModelSettings
from generation.models import ModelKind
from generation.refusal import Refused
from generation.runtime import fetch as child
from generation.runtime.fetch_errors import NotFetchedError, sentence
from tests.fixtures.hub import COMMIT, TOKEN, LocalHub, local_hub

DEMO = Path(__file__).resolve().parents[2] / "models" / "diffusers" / "demo"
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
async def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalHub]:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    async with local_hub() as hub:
        extra = {"README.md": b"# Tiny", "demo.ckpt": b"pickle", "run.py": b"print()"}
        hub.put("acme/tiny", DEMO, **extra)
        yield hub


def settings(hub: LocalHub, tmp_path: Path, token: str = "") -> HuggingFaceSettings:
    return HuggingFaceSettings(endpoint=hub.endpoint, token=token, cache=tmp_path / "cache")


async def end_of(wanted: HuggingFaceSettings, model: str) -> Fetched | NotFetched:
    async with aclosing(fetching(wanted, read(model))) as events:
        last = [event async for event in events][-1]
    assert isinstance(last, Fetched | NotFetched)
    return last


async def why(wanted: HuggingFaceSettings, model: str) -> str:
    end = await end_of(wanted, model)
    assert isinstance(end, NotFetched)
    assert TOKEN not in end.why
    return end.why


async def test_a_model_is_fetched_and_found_by_its_own_name(
    hub: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(
        file=tmp_path / "config.toml", huggingface=settings(hub, tmp_path, TOKEN), token="x"
    )
    parser = argparse.ArgumentParser()
    command.add_flags(parser)
    assert await command.fetch(config, parser.parse_args(["acme/tiny"])) == 0
    said = capsys.readouterr()
    assert f"MiB  {UNET}" in said.out
    assert "acme/tiny: checkpoint, Stable Diffusion 1.x" in said.out
    assert TOKEN not in said.out + said.err
    snapshot = tmp_path / "cache" / "models--acme--tiny" / "snapshots" / COMMIT
    assert (snapshot / UNET).read_bytes() == (DEMO / UNET).read_bytes()
    there = {path.name for path in snapshot.rglob("*") if path.is_file()}
    assert not there & {"README.md", "demo.ckpt", "run.py", "vocabulary.json"}
    sent = {path.split("/")[1]: headers.get("Authorization") for _, path, headers in hub.asked}
    assert sent == {"api": f"Bearer {TOKEN}", "acme": f"Bearer {TOKEN}", "stored": None}
    before = len(hub.asked)
    assert isinstance(await end_of(config.huggingface, "acme/tiny"), Fetched)
    assert [path for _, path, _ in hub.asked[before:] if "stored" in path] == []


async def test_a_model_that_the_settings_name_is_offered_when_it_is_whole(
    hub: LocalHub, tmp_path: Path
) -> None:
    named = {"mine": ModelSettings(hub="acme/tiny", steps=3)}
    wanted = settings(hub, tmp_path, TOKEN)
    catalog = Catalog((wanted.folder,), settings=named)
    await catalog.scan()
    with pytest.raises(Refused, match="model_awaited"):
        catalog.get(ModelKind.CHECKPOINT, "Mine")
    with capture_logs() as lines:
        await fetch_awaited(wanted, catalog)
    assert [line["event"] for line in lines if "model" in line] == [
        "fetching a model",
        "a model was fetched",
    ]
    assert TOKEN not in str(lines)
    assert catalog.get(ModelKind.CHECKPOINT, "mine").family == "sd1"
    assert catalog.awaited == {}
    assert [model.name for model in catalog.checkpoints] == ["mine"]


async def test_what_can_not_be_fetched_is_said_once(hub: LocalHub, tmp_path: Path) -> None:
    wanted = HuggingFaceSettings(offline=True, cache=tmp_path)
    catalog = Catalog((tmp_path,), settings={"mine": ModelSettings(hub="acme/tiny")})
    await catalog.scan()
    with capture_logs() as lines:
        await fetch_awaited(wanted, catalog)
    [line] = [line for line in lines if line["log_level"] == "warning"]
    assert line["model"] == "mine"
    assert line["why"].startswith("offline = true in [huggingface]")
    assert hub.asked == []


@pytest.mark.slow
async def test_a_download_that_was_cut_off_goes_on(hub: LocalHub, tmp_path: Path) -> None:
    content = (DEMO / UNET).read_bytes()
    hub.repositories = {"acme/one": {"one.safetensors": content}}
    hub.cut_after, hub.stalls = len(content) // 2, True
    wanted = settings(hub, tmp_path)
    fetched = asyncio.create_task(end_of(wanted, "acme/one"))
    blobs = wanted.folder / "models--acme--one" / "blobs"
    while sum(part.stat().st_size for part in blobs.glob("*.part")) < hub.cut_after // 2:
        await asyncio.sleep(0.02)
    fetched.cancel()
    await asyncio.wait((fetched,))
    [part] = blobs.iterdir()
    kept = part.stat().st_size
    assert 0 < kept <= hub.cut_after
    catalog = Catalog((wanted.folder,))
    await catalog.scan()
    assert (catalog.all, catalog.problems) == ([], ())
    # then it breaks off, and this is gone on with in the same run
    hub.stalls, hub.cut_after = False, len(content) // 3
    hub.woken.set()
    events_after = [event async for event in fetching(wanted, read("acme/one"))]
    plan, end = events_after[0], events_after[-1]
    assert isinstance(plan, FetchPlan)
    assert plan.there == kept
    assert isinstance(end, Fetched)
    assert (Path(end.snapshot) / "one.safetensors").read_bytes() == content
    ranges = [h.get("Range") for m, path, h in hub.asked if m == "GET" and "stored" in path]
    assert ranges[:2] == [None, f"bytes={kept}-"]
    assert len(ranges) > 2


@pytest.mark.slow
async def test_a_server_that_knows_no_ranges(hub: LocalHub, tmp_path: Path) -> None:
    content = (DEMO / UNET).read_bytes()
    hub.repositories = {"acme/one": {"one.safetensors": content}}
    wanted = settings(hub, tmp_path)
    blobs = wanted.folder / "models--acme--one" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{hashlib.sha256(content).hexdigest()}.part").write_bytes(content[:1000])
    hub.ranges = False
    end = await end_of(wanted, "acme/one")
    assert isinstance(end, Fetched)
    assert (Path(end.snapshot) / "one.safetensors").read_bytes() == content


@pytest.mark.slow
async def test_what_can_not_be_had(hub: LocalHub, tmp_path: Path) -> None:
    hub.repositories["acme/gated"] = hub.repositories["acme/tiny"]
    hub.gated.add("acme/gated")
    hub.repositories["acme/many"] = {"a.gguf": b"a", "b.gguf": b"b"}
    free, refused = settings(hub, tmp_path), settings(hub, tmp_path, "hf_other")
    owner = settings(hub, tmp_path, TOKEN)
    asked = [
        (owner, "acme/none", "knows no model acme/none. Correct the id."),
        (free, "acme/none", "a private one needs a token (HF_TOKEN)"),
        (refused, "acme/tiny", "refuses the token for acme/tiny"),
        (free, "acme/gated", f"do that on {hub.endpoint}/acme/gated, make a token"),
        (owner, "acme/gated", "as the owner of the token, and try again"),
        (owner, "acme/tiny@dev", "has no branch, tag or commit dev"),
        (owner, "acme/many", "Name one behind a colon: a.gguf, b.gguf"),
        (HuggingFaceSettings(endpoint="nonsense", cache=tmp_path), "a/b", "is no address"),
        (
            HuggingFaceSettings(endpoint="http://127.0.0.1:9", cache=tmp_path),
            "a/b",
            "http://127.0.0.1:9 can't be reached (ConnectError). Check the network",
        ),
    ]
    said = await asyncio.gather(*(why(wanted, model) for wanted, model, _ in asked))
    for sentence_, (_, model, part) in zip(said, asked, strict=True):
        assert part in sentence_, model
        assert "\n" not in sentence_


@pytest.mark.slow
async def test_what_goes_wrong_meanwhile(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = settings(hub, tmp_path)
    hub.damaged = True
    assert "came damaged, and was removed" in await why(wanted, "acme/tiny")
    assert list(wanted.folder.rglob("*.part")) == []
    assert list(wanted.folder.glob("*/snapshots/*")) == []
    hub.status = 503
    assert "answers with error 503" in await why(wanted, "acme/tiny")
    hub.status, hub.damaged, hub.cut_after = 200, False, 0
    assert "broke off" in await why(wanted, "acme/tiny")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in await why(wanted, "acme/tiny")


def a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> child.Repository:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = child.Repository(read("acme/tiny"))
    repository.commit = COMMIT
    repository.blobs.mkdir(parents=True)
    return repository


def test_a_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = a_repository(tmp_path, monkeypatch)
    usage: Any = SimpleNamespace(free=2**30)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(NotFetchedError, match=r"needs 3\.0 GiB more, and 1\.0 GiB are free"):
        child._planned(repository, [HubFile("a.gguf", 3 * 2**30, "1" * 64)])
    full = sentence(read("a/b"), OSError(errno.ENOSPC, "No space left"), token=False)
    assert "disk of the cache is full" in full.why


def test_a_system_that_makes_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files with the same content share a blob, and an end in between loses neither."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    repository = a_repository(tmp_path, monkeypatch)
    blob, other = repository.blobs / "same", repository.blobs / "other"
    blob.write_bytes(b"same")
    other.write_bytes(b"other")
    left = repository.growing / "left.json"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"of a run before")
    child.place(repository, {"a/x.txt": blob, "b/x.txt": blob, "model_index.json": other})
    found = {
        path.relative_to(repository.snapshot).as_posix(): path.read_bytes()
        for path in repository.snapshot.rglob("*")
        if path.is_file()
    }
    assert found == {
        "a/x.txt": b"same",
        "b/x.txt": b"same",
        "model_index.json": b"other",
        "left.json": b"of a run before",
    }
    assert not blob.exists()
    assert (repository.folder / "refs" / "main").read_text() == COMMIT


def test_the_cache_lies_in_the_model_folder() -> None:
    config = Config(file=Path("config.toml"), models=ModelsSettings())
    assert config.huggingface.folder not in config.model_folders
    assert config.huggingface.folder.is_relative_to(config.model_folders[0])
