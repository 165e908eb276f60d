"""What a host tells of its models: no path leaves it, and what comes back means its own files."""

from pathlib import Path

import msgspec
import pytest

from generation.catalog import Catalog, Models
from generation.hosting.models import FileGoneError, HostModels
from generation.messages import EngineWork, Generate, encode
from generation.messaging import wire
from generation.messaging.wire import Listing
from generation.models import ModelFile, ModelKind
from tests.fixtures.requests import a_request


class Shelf(Catalog):
    def __init__(self, *models: ModelFile) -> None:
        super().__init__(())
        self._models = Models(models, whole=True)

    async def scan(self) -> None:
        pass


def a_file(folder: Path, name: str, **more: object) -> ModelFile:
    path = folder / name
    path.write_text(name)
    changes = {"kind": ModelKind.CHECKPOINT, "family": "sd1", **more}
    return ModelFile(name=path.stem, path=path, **changes)  # type: ignore[arg-type]


async def test_paths_stay_on_the_host(tmp_path: Path) -> None:
    secret = tmp_path / "somebodys-home"
    secret.mkdir()
    labels = secret / "tags.csv"
    labels.write_text("a,b")
    vae = a_file(secret, "ae.safetensors", kind=ModelKind.VAE)
    model = a_file(secret, "big.safetensors", parts={"vae": vae})
    tagger = a_file(secret, "wd.onnx", kind=ModelKind.TAGGER, labels=labels)
    host = HostModels(Shelf(model, vae, tagger))
    assert await host.look()
    assert str(tmp_path).encode() not in host.listing
    listing: Listing = wire.unpack(host.listing, Listing)
    told = {one.name: one for one in listing.models}
    assert told["big"].shown == "big.safetensors"
    assert told["wd"].labels is not None
    # as the bot would send it back
    work = Generate("5", a_request(model="big"), told["big"])
    read = host.work_of(encode(work), EngineWork)
    assert read.checkpoint == model
    assert read.checkpoint.parts["vae"].path == vae.path
    assert not await host.look(), "nothing has changed"


async def test_a_file_that_has_changed_since_is_not_drawn_with(tmp_path: Path) -> None:
    model = a_file(tmp_path, "big.safetensors")
    host = HostModels(Shelf(model))
    await host.look()
    [told] = wire.unpack(host.listing, Listing).models
    body = encode(Generate("5", a_request(model="big"), told))
    model.path.write_text("another")
    with pytest.raises(FileGoneError, match=r"big\.safetensors"):
        host.work_of(body, EngineWork)
    model.path.unlink()
    with pytest.raises(FileGoneError):
        host.work_of(body, EngineWork)
    # nor is anything else that lies there
    other = tmp_path / "other.safetensors"
    other.write_text("x")
    for path in (other, Path("../../etc/passwd")):
        asked = msgspec.structs.replace(told, path=path)
        with pytest.raises(FileGoneError):
            host.work_of(encode(Generate("5", a_request(), asked)), EngineWork)


async def test_what_can_t_be_read_is_not_told_of(tmp_path: Path) -> None:
    there, gone = a_file(tmp_path, "a.safetensors"), a_file(tmp_path, "b.safetensors")
    gone.path.unlink()
    host = HostModels(Shelf(there, gone))
    await host.look()
    assert [one.name for one in wire.unpack(host.listing, Listing).models] == ["a"]


def test_the_schema_tells_versions_apart() -> None:
    assert wire.schema() == wire.schema.__wrapped__()
    assert len(wire.schema()) == 16
