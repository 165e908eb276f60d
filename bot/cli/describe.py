"""`python -m bot describe FILE`: what pictures show, without any chat."""

import argparse
import sys
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from bot.cli.making import LOCALE, Maker, a_maker, say
from bot.config import Config
from bot.locales import Texts
from bot.pictures.decoding import PictureDecoder
from bot.pictures.uploads import read_file
from generation import describing
from generation.description import Description
from generation.job import Failure, JobState
from generation.picture_files import size_of
from generation.refusal import Refused
from generation.regular_files import printable
from generation.request_parts import DescriptionStyle
from storage.errors import DatabaseError

STYLES: Final[tuple[DescriptionStyle, ...]] = ("tags", "caption", "both")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which pictures, and what is said of them."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a picture")
    parser.add_argument(
        "--style", choices=STYLES, help="tags, a sentence, or both (default: what there is)"
    )
    parser.add_argument(
        "--json", action="store_true", help="one line of JSON for each picture, with probabilities"
    )


async def describe(config: Config, arguments: argparse.Namespace) -> int:
    """Print what each shows, on stdout; all else goes to stderr. Returns the exit status."""
    texts, console = Texts(LOCALE), Console(stderr=True, emoji=False)
    status = 0
    try:
        async with a_maker(config) as maker:
            for file in arguments.files:
                try:
                    found = await _described(maker, file, arguments.style, texts, console)
                except Refused as refused:
                    say(f"{printable(str(file))}: {texts(refused.code, **refused.params)}", console)
                    status = 1
                else:
                    _print(file, found, texts, as_json=arguments.json)
    except DatabaseError as error:
        say(f"The database can't be used: {error}.", console)
        return 1
    return status


async def _described(
    maker: Maker, file: Path, style: DescriptionStyle | None, texts: Texts, console: Console
) -> Description:
    """What a picture shows. Raises Refused, also with why the job came to nothing."""
    config = maker.config
    # where nothing can describe it, it is not read
    describing.of_picture("", (1, 1), style, maker.catalog, config.describing)
    async with PictureDecoder(config.limits) as decoder:
        (content,) = await read_file(file, decoder, config.limits)
    picture = await maker.jobs.keep_upload(content)
    asked = describing.of_picture(
        picture, size_of(content), style, maker.catalog, config.describing
    )
    job = await maker.make(describing.request_of(asked), console, action="describe")
    await maker.jobs.mark_delivered(job.id)
    if job.state is not JobState.FINISHED or job.description is None:
        failure = job.failure or Failure("internal_error")
        raise Refused(failure.code, **failure.params)
    return job.description


def _print(file: Path, found: Description, texts: Texts, *, as_json: bool) -> None:
    if as_json:
        line = {
            "file": printable(str(file)),
            "prompt": found.prompt,
            "caption": found.caption,
            "tags": {tag.words: tag.probability for tag in found.tags},
            "characters": [tag.words for tag in found.tags if tag.character],
            "ratings": found.ratings,
        }
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    else:
        rated = f" ({found.rating})" if found.rating else ""
        sys.stdout.write(f"{found.prompt or texts('nothing_seen')}{rated}\n")
    sys.stdout.flush()
