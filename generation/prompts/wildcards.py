"""Prompts of which a part is drawn: `a {red|blue} __animal__`.

`{a|b}` draws one, `{2$$a|b|c}` two, `{2$$ and $$a|b|c}` with that between them, `{3::a|b}` the
first three times as often, and `__name__` a line of the owner's `name.txt`, which may hold all of
this. The language is dynamicprompts', without its comments, variables and ways of taking turns.
Behind a backslash braces and underscores are text.
"""

import re
from fnmatch import fnmatchcase
from pathlib import Path
from random import Random
from typing import Final

from generation.name_search import nearest
from generation.refusal import Refused
from generation.regular_files import read_regular

FILE_BYTES_MAX: Final = 2**22
BRACES_MAX: Final = 100
CHOICES_MAX: Final = 500
DRAWS_MAX: Final = 300
"""Wildcards that one prompt draws from; only what goes in circles has more."""
_SIGN: Final = re.compile(
    r"""
      \\. | (?P<wildcard> (?<!\w) __ [~!@]*+ (?P<name> [^\s_{}#$()\\] (?:[^\n{}#$()\\]*?[^\s_])? )
            __ (?!\w) )
    | (?P<open> \{ ) (?:\s*+[~!@])*+ | \} | \|
    | __ | \# | % | /(?=[/*]) | (?<!\$) \$ (?!\$) | \\
    """,
    re.VERBOSE | re.DOTALL,
)
"""What means something: to us, or to dynamicprompts alone."""
_HIDDEN: Final = 0xF0000
"""Where signs are hidden from dynamicprompts: characters that no font has."""
_HIDDEN_SIGN: Final = re.compile("[\U000f0000-\U000f007f]")


def is_template(text: str) -> bool:
    """Whether something in it is drawn."""
    return any(match["wildcard"] or match["open"] for match in _SIGN.finditer(text))


def draw(option: str, text: str, seed: int, folder: Path | None) -> str:
    """The text with everything drawn, by the seed; as it is where there is nothing to draw.

    The wildcards are the text files of `folder`. Raises Refused for braces that can't be read,
    a wildcard that isn't there, and what would be drawn without end.
    """
    if not is_template(text):
        return text
    found = list(_SIGN.finditer(text))
    braces = sum(match["open"] is not None for match in found)
    bars = sum(match[0] == "|" for match in found)
    if braces > BRACES_MAX or bars > CHOICES_MAX:
        raise Refused("braces_too_many", option=option, high=BRACES_MAX, choices=CHOICES_MAX)
    if _HIDDEN_SIGN.search(text):
        raise Refused("braces_unreadable", option=option)
    lists = Lists(folder)
    for match in found:
        if match["name"] is not None:
            lists.named(match["name"])
    # few prompts need it, and it takes its time to load
    from generation.prompts.sampling import TooDeep, Unreadable, sample

    try:
        return _shown(sample(_hidden(text), Random(seed), lists.lines))
    except TooDeep:
        raise Refused("wildcard_endless", name=lists.last) from None
    except Unreadable:
        raise Refused("braces_unreadable", option=option) from None


class Lists:
    """The owner's wildcards."""

    def __init__(self, folder: Path | None) -> None:
        paths = [] if folder is None else sorted(folder.rglob("*.txt"))
        self._files = {
            path.relative_to(folder).with_suffix("").as_posix(): path for path in paths if folder
        }
        self._lines: dict[str, list[str]] = {}
        self._drawn = 0
        self.last = ""
        """The wildcard that was drawn last."""

    def named(self, name: str) -> list[str]:
        """The wildcards that a name means: `a` is `x/a`, too, where there is no other, and `*` any
        of them. Raises Refused.
        """
        for pattern in (name, f"*/{name}"):
            found = [each for each in self._files if fnmatchcase(each, pattern)]
            if found:
                return found
        if not self._files:
            raise Refused("wildcards_none", name=name[:80])
        alike = ", ".join(nearest(name, self._files, 3))
        raise Refused("wildcard_unknown", name=name[:80], nearest=alike)

    def lines(self, name: str) -> list[str]:
        """What a wildcard can be, without empty lines and comments. Raises Refused."""
        name = _shown(name).strip("/")
        self.last = name[:80]
        self._drawn += 1
        if self._drawn > DRAWS_MAX:
            raise Refused("wildcard_endless", name=self.last)
        if name not in self._lines:
            self._lines[name] = self._read(name)
        return self._lines[name]

    def _read(self, name: str) -> list[str]:
        found: dict[str, None] = {}
        for each in self.named(name):
            try:
                content = read_regular(self._files[each], FILE_BYTES_MAX)
            except OSError:
                continue
            for line in content.decode("utf-8-sig", "replace").splitlines():
                if line.strip() and not line.lstrip().startswith("#"):
                    found[_hidden(line.strip())] = None
        if not found:
            raise Refused("wildcard_empty", name=name[:80])
        return sorted(found)


def _hidden(text: str) -> str:
    """The text with what means nothing to us hidden from dynamicprompts."""

    def hide(match: re.Match[str]) -> str:
        if match["wildcard"]:
            return f"__{match['name']}__"
        if match["open"]:
            return match["open"]
        if match[0] in "}|":
            return match[0]
        return "".join(chr(_HIDDEN + ord(sign)) if sign.isascii() else sign for sign in match[0])

    return _SIGN.sub(hide, text)


def _shown(text: str) -> str:
    return _HIDDEN_SIGN.sub(lambda match: chr(ord(match[0]) - _HIDDEN), text)
