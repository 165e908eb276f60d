"""Pictures described by the real worker process."""

from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio

from generation.catalog import Catalog
from generation.describing import DescribingSettings, of_picture, request_of
from generation.engines.process import ProcessEngine
from generation.messages import RuntimeSettings
from generation.request_parts import DescriptionStyle
from tests.fixtures.florence import WORDS, write_florence
from tests.fixtures.onnx_files import WD_TAGS, write_wd_tagger
from tests.integration.runtime.bench import Bench, Made, upload

SETTINGS = RuntimeSettings(preview_every=0.0, cpu_threads=1)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    root = tmp_path_factory.mktemp("models")
    weights = np.zeros((3, len(WD_TAGS)), np.float32)
    weights[2, 6] = 1 / 32
    bias = np.full(len(WD_TAGS), -4.0, np.float32)
    bias[0] = 2.0
    write_wd_tagger(root / "wd14_tagger" / "wd", weights=weights, bias=bias, side=16)
    write_florence(root / "LLM" / "florence")
    catalog = Catalog([root])
    await catalog.scan()
    assert catalog.problems == ()
    engine = ProcessEngine(SETTINGS, cache=root / "cache")
    yield Bench(engine, catalog, root)
    await engine.stop()


async def described(bench: Bench, colour: str, style: DescriptionStyle = "tags") -> Made:
    picture, pictures = upload(colour, (40, 40))
    asked = of_picture(picture, (40, 40), style, bench.catalog, DescribingSettings())
    fields = {name: getattr(asked, name) for name in asked.__struct_fields__}
    return await bench.make(describing=fields, pictures=pictures)


async def test_tags_ratings_and_what_they_were_told_by(bench: Bench) -> None:
    made = await described(bench, "red")
    assert made.failed is None
    assert made.description is not None
    assert [tag.name for tag in made.description.tags] == ["red_hair"]
    assert made.description.rating == "general"
    assert made.description.caption == ""
    assert made.pictures == []
    assert {event.stage for event in made.progress} == {"loading", "describing"}
    assert made.finished is not None
    assert set(made.finished.hashes) == {"tagger:wd"}
    blue = await described(bench, "blue")
    assert blue.description is not None
    assert blue.description.tags == ()


@pytest.mark.slow
async def test_a_sentence_beside_the_tags(bench: Bench) -> None:
    made = await described(bench, "red", "both")
    assert made.failed is None
    assert made.description is not None
    assert [tag.name for tag in made.description.tags] == ["red_hair"]
    assert made.description.caption
    assert set(made.description.caption.split()) <= set(WORDS)
    assert made.finished is not None
    assert set(made.finished.hashes) == {"tagger:wd", "captioner:florence"}
    again = await described(bench, "red", "caption")
    assert again.description is not None
    assert again.description.caption == made.description.caption
    assert again.description.tags == ()


async def test_the_process_outlives_a_broken_one(bench: Bench) -> None:
    file = bench.folder / "wd14_tagger" / "wd" / "model.onnx"
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"ReduceMean", b"ReduceMuch"))
    made = await described(bench, "red")
    assert made.failed is not None
    assert made.failed.code == "model_broken"
    assert made.failed.params["file"] == "model.onnx"
    file.write_bytes(whole)
    assert (await described(bench, "red")).finished is not None


async def test_it_can_be_cancelled_before_it_begins(bench: Bench) -> None:
    picture, pictures = upload("red")
    asked = of_picture(picture, (64, 64), "tags", bench.catalog, DescribingSettings())
    work = bench.work("cancelled", request_of(asked), pictures)
    await bench.engine.cancel("cancelled")
    events = [event async for event in bench.engine.generate(work)]
    assert [getattr(event, "code", "") for event in events][-1] == "cancelled"
