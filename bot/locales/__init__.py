"""What people read, by locale: one TOML file a language, every sentence in it and nowhere else."""

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
DEFAULT: Final = "en-US"
LOCALES: Final = tuple(sorted(file.stem for file in FOLDER.glob("*.toml")))
OPTIONS: Final = ("option", "needs", "what")
"""Parameters that are names of options or settings; people know these in their own language."""


class Texts:
    """The sentences of one language. `texts("no_models")`, `texts("queue_position", count=2)`.

    A sentence that counts has a table of two: `one` for a count of 1, `other` for the rest.
    A locale without a file speaks English.
    """

    def __init__(self, locale: str) -> None:
        self.locale = locale if locale in LOCALES else DEFAULT
        self._sentences = sentences(self.locale)

    def __call__(self, key: str, /, **params: object) -> str:
        """The sentence of that key. Raises KeyError for a key or parameter that is not there."""
        sentence = self._sentences[key]
        if isinstance(sentence, Mapping):
            sentence = sentence["one" if params.get("count") == 1 else "other"]
        named = {name: self._named(params[name]) for name in OPTIONS if name in params}
        return sentence.format(**params | named)

    def has(self, key: str) -> bool:
        """Whether there is a sentence of that key."""
        return key in self._sentences

    def _named(self, name: object) -> object:
        keys = (f"option_{name}", f"setting_{name}")
        return next((self._sentences[key] for key in keys if key in self._sentences), name)


@functools.cache
def sentences(locale: str) -> Mapping[str, str | Mapping[str, str]]:
    """Every sentence of a language by its key; the tables of the file only group them."""
    tables = tomllib.loads((FOLDER / f"{locale}.toml").read_text(encoding="utf-8"))
    return {key: sentence for table in tables.values() for key, sentence in table.items()}
