"""What describes pictures and checks them: taggers and captioners."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from bot.cli.doctor.finding import Finding
from bot.config import Config
from bot.locales import Texts
from generation import describing
from generation.catalog import Catalog
from generation.messages import NO_CHECK
from generation.refusal import Refused

HASH_SHOWN: Final = 10
"""Digits, as A1111 shows them."""


async def check_readers(config: Config, catalog: Catalog) -> AsyncIterator[Finding]:
    """What /describe looks with, and what looks at each picture that is drawn."""
    try:
        found = describing.of_picture("", (1, 1), None, catalog, config.describing)
    except Refused as refused:
        if refused.code != "no_tagger" or config.describing.tagger or config.describing.captioner:
            mend = Texts("en-US")(refused.code, **refused.params)
            yield Finding("[describing]", "what describes pictures", mend, fatal=False)
    else:
        named = " and ".join(filter(None, (found.tagger, found.captioner)))
        yield Finding("describing", f"by {named}")
    if config.worker.picture_check_model:
        return
    rater = describing.rater_of(catalog)
    wanted = config.direct_messages.picture_check
    if rater is not None:
        ratings = ", ".join(config.worker.picture_check_ratings)
        digest = await asyncio.to_thread(_sha256, rater.path)
        line = f"by the ratings of {rater.name} [{digest}]: {ratings}"
        yield Finding("picture check", line)
    elif wanted != "off":
        mend = (
            "[direct_messages] wants a picture check, and there is none, so all pictures count as"
            " unsafe there. Put a WD tagger into models/wd14_tagger, name a model with"
            f' picture_check_model in [worker], or write picture_check = "{NO_CHECK}".'
        )
        yield Finding("[direct_messages]", f"picture_check = {wanted}", mend)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:HASH_SHOWN]
    except OSError:
        return "?"
