"""What people read, by locale: one TOML file a language, every sentence in it and nowhere else."""

import functools
import math
import string
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import structlog
from babel import Locale, UnknownLocaleError
from babel.numbers import format_decimal

log = structlog.get_logger(__name__)

FOLDER: Final = Path(__file__).parent
DEFAULT: Final = "en-US"
LOCALES: Final = tuple(sorted(file.stem for file in FOLDER.glob("*.toml")))
OPTIONS: Final = ("option", "needs", "what")
"""Parameters that are names of options or settings; people know these in their own language."""
IDENTIFIERS: Final = frozenset(("job", "parent", "seed"))
"""Parameters that are numbers to copy, not to read."""
KEY_MAX: Final = 80
"""Characters of a key that names no sentence, and is shown in its place."""
MISSING: Final = "…"
"""What stands where a parameter should."""
GROUPED_FROM: Final = 10_000
"""Numbers of four digits, such as sides in pixels, are written without a mark between them."""
WRITTEN_OUT: Final = 10**21
"""From here on nobody counts the digits."""


class Texts:
    """The sentences of one language. `texts("no_models")`, `texts("queue_position", count=2)`.

    A sentence that counts is a table by CLDR's plural categories (zero, one, two, few, many,
    other), as far as the language has them. A locale without a file speaks English, and so does a
    sentence that a file lacks. A mistake in the call is logged and never raised: whoever shows a
    sentence is often telling somebody of another mistake already.
    """

    def __init__(self, locale: str) -> None:
        self.locale = locale if locale in LOCALES else DEFAULT
        self._sentences = sentences(self.locale)
        self._formatter = _Formatter(self.locale)

    def __call__(self, key: str, /, **params: object) -> str:
        """The sentence of that key, with a mark where a parameter is missing; else the key."""
        sentence = self._sentences.get(key) or sentences(DEFAULT).get(key)
        if sentence is None:
            log.error("no such sentence", key=key[:KEY_MAX])
            return key[:KEY_MAX]
        if isinstance(sentence, Mapping):
            category = plural_category(self.locale, params.get("count"))
            sentence = sentence.get(category) or sentence["other"]
        named = {name: self._named(params[name]) for name in OPTIONS if name in params}
        return self._formatter.filled(key, sentence, params | named)

    def has(self, key: str) -> bool:
        """Whether there is a sentence of that key."""
        return key in self._sentences

    def number(self, value: float) -> str:
        """A number as people write it in this language: 9,007,199,254,740,991, 0.1, 1024."""
        return written(value, self.locale)

    def _named(self, name: object) -> object:
        keys = (f"option_{name}", f"setting_{name}")
        return next((self._sentences[key] for key in keys if key in self._sentences), name)


class _Formatter(string.Formatter):
    """Fills a sentence in; what can't be filled in is marked and logged."""

    def __init__(self, locale: str) -> None:
        self._locale = locale

    def filled(self, key: str, sentence: str, params: Mapping[str, object]) -> str:
        parts: list[str] = []
        for text, name, spec, _ in self.parse(sentence):
            parts.append(text)
            if name is None:
                continue
            try:
                value = params[name]
                plain = spec or name in IDENTIFIERS or isinstance(value, bool)
                if isinstance(value, int | float) and not plain:
                    parts.append(written(value, self._locale))
                else:
                    parts.append(format(value, spec or ""))
            except (KeyError, ValueError, TypeError) as error:
                log.error(
                    "a sentence lacks a parameter", key=key, name=name, error=str(error)[:200]
                )
                value = params.get(name)
                parts.append(value if isinstance(value, str) else MISSING)
        return "".join(parts)


def written(value: float, locale: str) -> str:
    """A number as people write it in a language."""
    if isinstance(value, float) and not math.isfinite(value):
        return "∞" if value > 0 else "-∞" if value < 0 else "NaN"
    if abs(value) >= WRITTEN_OUT:
        return f"{Decimal(value):.3g}"
    grouped = abs(value) >= GROUPED_FROM
    number = Decimal(repr(value))
    if number == number.to_integral_value():
        number = number.quantize(Decimal(1))
    return format_decimal(
        number, locale=_rules(locale), decimal_quantization=False, group_separator=grouped
    )


def plural_category(locale: str, count: object) -> str:
    """CLDR's category of a count in a language; `other` for what is no number."""
    if not isinstance(count, int | float) or not abs(count) < WRITTEN_OUT:
        return "other"
    return str(_rules(locale).plural_form(count))


def plural_categories(locale: str) -> frozenset[str]:
    """The categories that a language tells apart."""
    return frozenset(_rules(locale).plural_form.tags) | {"other"}


@functools.cache
def _rules(locale: str) -> Locale:
    try:
        return Locale.parse(locale, sep="-")
    except (UnknownLocaleError, ValueError):
        return Locale.parse(DEFAULT, sep="-")


@functools.cache
def sentences(locale: str) -> Mapping[str, Any]:
    """Every sentence of a language by its key; the tables of the file only group them."""
    tables = tomllib.loads((FOLDER / f"{locale}.toml").read_text(encoding="utf-8"))
    return {key: sentence for table in tables.values() for key, sentence in table.items()}
