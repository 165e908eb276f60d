"""Settings that can't hold together, and what became of the flags of other programs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from bot.app import elsewhere
from bot.cli.doctor.finding import Finding
from bot.config import Config
from bot.storage_folder import StartError
from generation.messages import NO_CHECK
from generation.regular_files import printable


async def check_settings(config: Config) -> AsyncIterator[Finding]:
    """What config.toml says that can't hold together, and the picture check that it names."""
    if not await asyncio.to_thread(config.file.exists):
        mend = "The defaults hold, and darkroom run writes it."
        yield Finding("settings", f"{config.file} is not there", mend, fatal=False)
    try:
        elsewhere(config)
    except StartError as error:
        yield Finding("settings", "[direct_messages]", str(error))
    checker = config.worker.picture_check_model
    if checker in ("", NO_CHECK):
        return  # whether a tagger checks is seen where the models are looked at
    there = await asyncio.to_thread(_is_classifier, Path(checker))
    mend = "It needs a folder with config.json and a .safetensors file. Correct it in [worker]."
    yield Finding("picture check", printable(checker), "" if there else mend)


def _is_classifier(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


async def check_flags(config: Config) -> AsyncIterator[Finding]:
    """What became of the flags of other programs."""
    for answer in config.worker.flag_answers():
        mend = "" if answer.known else "Correct it in [worker] webui_flags."
        yield Finding("flags", str(answer), mend, fatal=False)
