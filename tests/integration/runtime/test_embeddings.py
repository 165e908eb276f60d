"""Learned words by the real worker process: what prompts name acts, and nothing else does."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import torch
from safetensors.torch import save_file

from generation import metadata
from generation.catalog import Catalog
from generation.engines.process import ProcessEngine
from generation.messages import RuntimeSettings
from tests.fixtures import models, sdxl
from tests.integration.runtime.bench import Bench, Made

SETTINGS = RuntimeSettings(preview_every=0, cpu_threads=1)

pytestmark = pytest.mark.asyncio(loop_scope="module")


def learned(file: Path, **widths: int) -> None:
    """Two vectors a part; `emb_params` and the like are the parts' names."""
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(7)
    save_file(
        {name.replace("__", "."): torch.randn(2, width) for name, width in widths.items()}, file
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    models.tiny_stable_diffusion(root / "diffusers" / "tiny")
    sdxl.tiny_sdxl(root / "diffusers" / "large")
    words = root / "embeddings"
    learned(words / "my-style.safetensors", emb_params=models.WIDTH)
    learned(words / "wide.safetensors", emb_params=models.WIDTH + 1)
    learned(words / "xl-style.safetensors", clip_l=sdxl.WIDTH, clip_g=sdxl.WIDTH_2)
    learned(words / "xl-wide.safetensors", clip_l=sdxl.WIDTH, clip_g=sdxl.WIDTH_2 + 1)
    nan = {"emb_params": torch.full((1, models.WIDTH), float("nan"))}
    save_file(nan, words / "broken.safetensors")
    return root


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bench(folder: Path) -> AsyncIterator[Bench]:
    catalog = Catalog([folder])
    await catalog.scan()
    assert catalog.problems == ()
    engine = ProcessEngine(SETTINGS, cache=folder / "cache")
    yield Bench(engine, catalog, folder)
    await engine.stop()


def text_of(made: Made) -> str:
    hashes = made.pictures[0].hashes
    return metadata.infotext(metadata.About(request=made.request, index=0, seed=1, hashes=hashes))


@pytest.mark.slow
@pytest.mark.parametrize(("model", "word"), [("tiny", "my-style"), ("large", "xl-style")])
async def test_a_word_that_was_learned_acts_where_it_is_named(
    bench: Bench, folder: Path, model: str, word: str
) -> None:
    file = folder / "embeddings" / f"{word}.safetensors"
    plain = await bench.make(model, prompt="a fox, other words")
    named = await bench.make(model, prompt=f"a fox, ({word.upper()}:1.1)")
    assert [*named.pictures[0].hashes] == [f"checkpoint:{model}", f"embedding:{word}"]
    short = named.pictures[0].hashes[f"embedding:{word}"][:12]
    assert f'TI hashes: "{word}: {short}"' in text_of(named)
    assert "TI hashes" not in text_of(plain)
    unwanted = await bench.make(model, prompt="a fox", negative_prompt=f"{word}, fog")
    kept = file.rename(file.with_suffix(".away"))
    try:
        await bench.catalog.scan()
        words = await bench.make(model, prompt=f"a fox, ({word.upper()}:1.1)")
        fog = await bench.make(model, prompt="a fox", negative_prompt=f"{word}, fog")
    finally:
        kept.rename(file)
        await bench.catalog.scan()
    # a name that nothing is called by is a word
    assert [*words.pictures[0].hashes] == [f"checkpoint:{model}"]
    assert words.pixels != named.pixels
    assert fog.pixels != unwanted.pixels
    assert (await bench.make(model, prompt="a fox, other words")).pixels == plain.pixels


@pytest.mark.slow
async def test_a_word_that_is_learned_anew_is_read_anew(bench: Bench, folder: Path) -> None:
    file = folder / "embeddings" / "my-style.safetensors"
    before = await bench.make(prompt="a my-style fox")
    content = file.read_bytes()
    save_file({"emb_params": torch.ones(3, models.WIDTH)}, file)
    try:
        after = await bench.make(prompt="a my-style fox")
    finally:
        file.write_bytes(content)
    assert after.pixels != before.pixels


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "word", "code", "params"),
    [
        ("tiny", "wide", "embedding_mismatch", {"name": "wide"}),
        ("large", "xl-wide", "embedding_mismatch", {"name": "xl-wide"}),
        ("tiny", "broken", "nan_weights", {"file": "broken.safetensors", "part": "vector"}),
    ],
)
async def test_one_that_does_not_fit_or_is_damaged_is_named(
    bench: Bench, model: str, word: str, code: str, params: dict[str, str]
) -> None:
    failed = (await bench.make(model, prompt=f"a {word} fox")).failed
    assert failed is not None
    assert (failed.code, failed.params) == (code, params)
