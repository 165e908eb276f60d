"""What people wrote is shown as they wrote it, within Discord's bounds and in no time."""

import re
import subprocess
import sys

import discord
import pytest

from bot.locales import Texts
from bot.ui.formatting import cut, cut_lines, fitted, quoted, sentence
from playground.validation.embeds import check_embeds
from playground.validation.form import Form
from tests.fixtures import fuzz

SIGNS = r"\*_~|`[]()<>#-+.:@&!1 " + "\n"
HOSTILE = [sign * 4000 for sign in SIGNS] + [
    "[" * 1333 + "](" * 1333,
    "[" * 4000 + "](http://x)",
    "*_" * 2000,
    "- " * 2000,
    "\n>" * 2000,
    "\n1." * 1300,
    "http://a_b*c" * 300,
    "<@" * 2000,
    "\\" * 3999 + "*",
]
LONGEST = """
from bot.ui.formatting import escaped
for sign in {signs!r}:
    for text in (sign * 60_000, (sign + "a") * 30_000, "[" * 30_000 + (sign + "](") * 30_000):
        assert len(escaped(text)) >= len(text)
"""


def marks(shown: str) -> str:
    """What Discord would still read as more than text."""
    plain = re.sub(r"\\.", "x", shown, flags=re.DOTALL)
    found = re.findall(
        r"[\\*_~|`<]|\]\(|^[ \t]*[>#+-]|^[ \t]*[0-9]+[.)](?=\s|\Z)", plain, re.MULTILINE
    )
    return "".join(found)


@pytest.mark.parametrize("limit", [1, 2, 80, 300, 1000, 5000])
def test_no_sign_means_anything_and_none_is_too_much(limit: int) -> None:
    for text in HOSTILE:
        shown = quoted(text, limit)
        assert len(shown) <= limit
        assert not marks(shown.removesuffix("…")), (text[:20], shown[:40])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a cat, (red:1.3), 8k - sharp", "a cat, (red:1.3), 8k - sharp"),
        ("[a](http://b)", "[a\\](http://b)"),
        ("[cat|dog]", "[cat\\|dog]"),
        ("snow_white **", "snow\\_white \\*\\*"),
        ("# big\n-# small\n > said\n12. one", "\\# big\n\\-# small\n \\> said\n12\\. one"),
        ("<@1> <:a:2>", "\\<@1> \\<:a:2>"),
        ("", ""),
    ],
)
def test_text_is_shown_as_it_is_written(text: str, shown: str) -> None:
    assert quoted(text, 100) == shown


def test_what_is_left_out_is_marked_and_no_escape_is_cut_in_half() -> None:
    assert quoted("a" * 11, 10) == "a" * 9 + "…"
    assert quoted("****", 4) == "\\*…"
    assert quoted("\\\\\\\\", 4) == "\\\\…"


def test_escaping_takes_time_with_the_length_alone() -> None:
    # with the square of it this would take hours
    program = LONGEST.format(signs=SIGNS)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


@pytest.mark.parametrize("count", fuzz.CASES)
def test_whatever_is_written_is_only_text(count: int) -> None:
    for text in fuzz.texts(count, ["](", "[", "*", "_", "`", "\\", "<@", "# ", "\n", "1. "]):
        assert not marks(quoted(text, 60).removesuffix("…")), text


def test_a_sentence_with_names_of_any_length_fits_in_a_message() -> None:
    texts = Texts("en-US")
    said = sentence(texts, "checkpoint_unknown", {"name": "a_b" * 1000, "nearest": "*" * 3000})
    assert len(said) <= 2000
    assert not marks(said.replace("…", ""))
    assert said.endswith(".")
    assert len(sentence(texts, "channel_not_allowed", {"channels": "<#1>, " * 999})) <= 2000


def test_what_the_bot_writes_itself_keeps_its_marks() -> None:
    said = sentence(Texts("en-US"), "too_many_waiting", {"count": 3, "when": "<t:1:R>"})
    assert "<t:1:R>" in said
    number = sentence(Texts("en-US"), "not_a_number", {"option": "guidance_scale", "value": "x"})
    assert "\\_" not in number


def test_cut_texts_are_no_longer_than_they_may_be() -> None:
    assert cut("a" * 2001) == "a" * 1999 + "…"
    assert cut("a" * 2000) == "a" * 2000
    assert len(cut_lines("a" * 9000)) <= 4096


def test_an_embed_is_within_every_bound_of_discords() -> None:
    embed = discord.Embed(title="t" * 300, description="d" * 5000)
    embed.set_footer(text="f" * 3000).set_author(name="n" * 300)
    for number in range(30):
        embed.add_field(name="x" * number * 20, value="y" * number * 100)
    form = Form()
    check_embeds(form, {"embeds": [fitted(embed).to_dict()]})
    form.done()


def test_a_field_without_a_value_has_a_mark() -> None:
    embed = fitted(discord.Embed().add_field(name=" ", value="\n"))
    assert [(field.name, field.value) for field in embed.fields] == [("—", "—")]
    many = discord.Embed()
    for _ in range(30):
        many.add_field(name="a", value="b")
    assert len(fitted(many).fields) == 25
