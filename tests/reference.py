"""`python -m tests.reference`: write the two pages of docs/reference/ anew, the command line's from
what `--help` says, the settings' from the declarations of config.toml and its comments.
"""

import argparse
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from bot.__main__ import command_line
from bot.config import SECTIONS
from generation.model_settings import ModelSettings

PROJECT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = PROJECT / "docs" / "reference"
WORDS_MAX: Final = 8
"""More are said in the comment alone."""
VALUE_MAX: Final = 18
"""Characters of what a flag takes; longer ones stand with its help."""
VALUE: Final = "WHICH"
PLAIN: Final = {bool: "`true` or `false`", int: "a whole number", float: "a number", str: "text"}

OF_THE_COMMAND_LINE: Final = """# Command line

`darkroom COMMAND`, or `python -m bot COMMAND` in a checkout: the same program
([how it is called](../start.md#3-what-is-wrong)). `--help` behind a command says what stands
here. The status is 0 where all went well, 1 where something could not be
done, 2 where arguments or config.toml are wrong; what is wrong is said in a sentence on stderr."""
OF_SETTINGS: Final = """# Every setting

What stands in config.toml, with the defaults that hold where a key is left out. Paths are relative
to the file; on Windows write them with slashes (`C:/models`) or in single quotes. The bot reads the
file when it starts. Secrets need not be in it: `DISCORD_TOKEN`, which never is,
`HF_TOKEN`, `NATS_PASSWORD`, `NATS_TOKEN` and `WEBUI_AUTH` come from the environment, or from a file
`.env` beside config.toml."""
OF_MODELS: Final = """What holds for one checkpoint where nobody says otherwise; the same keys but
`hub` may lie beside the model, in `darkroom.toml` in its folder or in `NAME.darkroom.toml` beside
`NAME.safetensors`. A name with a dot stands in quotes: `[models."sd_xl_1.0"]`."""
OF_WORKERS: Final = """A worker for each graphics card, with what it does otherwise than `[worker]`
says: its keys, but for those that begin with `picture_check`, which hold for all
([several cards](../workers.md))."""


def main() -> int:
    """Write both pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8", newline="\n")
    return 0


def pages() -> Mapping[str, str]:
    """The name of each page, and what stands on it."""
    return {name: made() for name, made in PAGES.items()}


# -- the command line -------------------------------------------------------------------------


def commands() -> str:
    """A section a command, with its arguments as `--help` has them."""
    program = command_line()
    [subcommands] = [
        action for action in program._actions if isinstance(action, argparse._SubParsersAction)
    ]
    said = {action.dest: action.help or "" for action in subcommands._choices_actions}
    parts = [
        OF_THE_COMMAND_LINE,
        "## For every command",
        _table(program),
    ]
    for name, command in subcommands.choices.items():
        parts.append(f"## {name}")
        parts.append(_sentence(said[name]))
        usage = " ".join(["darkroom", name, *_positionals(command), "[flags]"])
        parts.append(f"    {usage if _flags(command) else usage.removesuffix(' [flags]')}")
        if table := _table(command):
            parts.append(table)
        if command.epilog:
            parts.append("\n".join(textwrap.wrap(command.epilog, 100)))
    return "\n\n".join(parts) + "\n"


def _positionals(command: argparse.ArgumentParser) -> Iterator[str]:
    for action in command._actions:
        if not action.option_strings:
            name = str(action.metavar or action.dest)
            many = {"*": f"[{name} ...]", "+": f"{name} [{name} ...]", "?": f"[{name}]"}
            yield many.get(str(action.nargs), name)


def _flags(command: argparse.ArgumentParser) -> list[argparse.Action]:
    return [
        action for action in command._actions if action.option_strings and action.dest != "help"
    ]


def _table(command: argparse.ArgumentParser) -> str:
    rows = []
    for action in command._actions:
        if action.dest == "help" or isinstance(action, argparse._SubParsersAction):
            continue
        value, said = _value(action), _help(action)
        if len(value) > VALUE_MAX:
            # else the first column would take the page
            words = re.split(r"[|,]", value.strip(" {}"))
            said = f"{', '.join(f'`{word}`' for word in words)}: {said}"
            value = f" {VALUE}"
        name = ", ".join(f"`{flag}{value}`" for flag in action.option_strings)
        rows.append(f"| {name or f'`{action.metavar or action.dest}`'} | {said} |")
    return "\n".join(["| | |", "|---|---|", *rows]) if rows else ""


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.metavar is None and action.choices is not None:
        return f" {{{','.join(map(str, action.choices))}}}"
    return f" {action.metavar or action.dest.upper()}"


def _help(action: argparse.Action) -> str:
    said = (action.help or "").replace("%%", "%")
    default = str(action.default).removeprefix(
        f"{PROJECT}{'/' if '/' in str(PROJECT) else chr(92)}"
    )
    return _cell(said.replace("%(default)s", default))


# -- settings ---------------------------------------------------------------------------------


def settings() -> str:
    """A section a table of config.toml: each key, its default, what it takes and what it does."""
    written = comments((PROJECT / "config.toml").read_text(encoding="utf-8"))
    parts = [OF_SETTINGS]
    for name, kind in SECTIONS.items():
        parts.append(f"## [{name}]")
        if "" in written[name]:
            parts.append(_linked(_sentence(written[name][""][1])))
        parts.append(_settings_table(kind, written[name], name))
        if name == "models":
            parts.append("## [models.NAME]")
            parts.append(OF_MODELS)
            parts.append(_settings_table(ModelSettings, OF_A_MODEL, "models.NAME"))
        if name == "worker":
            parts.append("## [workers.NAME]")
            parts.append(OF_WORKERS)
    return "\n\n".join(parts) + "\n"


OF_A_MODEL: Final = {
    "width": ("", "pixels; with `height`, or the model's own size"),
    "height": ("", "pixels"),
    "steps": ("", "denoising steps"),
    "guidance_scale": ("", "how closely the prompt is followed (CFG)"),
    "sampler": ("", "one of [the samplers](../samplers.md)"),
    "schedule": ("", "one of [the schedule types](../samplers.md)"),
    "clip_skip": (
        "",
        "which layer of Stable Diffusion 1's and 2's text encoder, from the end",
    ),
    "negative_prompt": ("", "what is not wanted"),
    "vae": ("", "the name of a file in `vae/`"),
    "text_encoders": ("", "names of files, where several would do for a model made of parts"),
    "quantise": ("", "whole weights take less memory: `fp8`, `int8`, `nf4`"),
    "hub": (
        "",
        "the model that is fetched under this name: `owner/name`, `owner/name:file`",
    ),
}


def comments(text: str) -> dict[str, dict[str, tuple[str, str]]]:
    """Table -> key -> the default as it is written, and the comment behind it, joined; "" has that
    of the table.
    """
    found: dict[str, dict[str, tuple[str, str]]] = {}
    table, key, goes_on = "", "", False
    for line in text.splitlines():
        if header := re.match(r"\[([\w.]+)\]\s*(?:# *(.*))?$", line):
            table, key, goes_on = header[1], "", bool(header[2])
            found[table] = {"": ("", header[2])} if header[2] else {}
        elif pair := re.match(r"(\w+) = (.*?)\s*(?:#\s?(.*))?$", line):
            key, goes_on = pair[1], True
            found[table][key] = (pair[2], (pair[3] or "").strip())
        elif goes_on and (more := re.match(r"\s{8,}#\s?(.*)$", line)):
            default, said = found[table][key]
            found[table][key] = (default, f"{said} {more[1].strip()}")
        else:
            goes_on = False
    return found


def _settings_table(
    kind: type[msgspec.Struct], said: Mapping[str, tuple[str, str]], table: str
) -> str:
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    rows = ["| key | default | takes | |", "|---|---|---|---|"]
    for field in info.fields:
        if (table, field.name) == ("models", "settings"):
            continue  # its tables
        if field.name not in said or not said[field.name][1]:
            raise ValueError(f"config.toml says nothing of {field.name} in [{table}]")
        default, comment = said[field.name]
        shown = f"`{default}`" if default else ""
        rows.append(
            f"| `{field.name}` | {shown} | {_cell(takes(field.type))} | {_linked(_cell(comment))} |"
        )
    return "\n".join(rows)


def takes(kind: Any) -> str:
    """What a setting may be, in words."""
    inspect = msgspec.inspect
    match kind:
        case inspect.UnionType():
            return " or ".join(takes(t) for t in kind.types if not isinstance(t, inspect.NoneType))
        case inspect.LiteralType() if len(kind.values) > WORDS_MAX:
            return "one of those words"
        case inspect.LiteralType():
            return ", ".join(f'`"{value}"`' for value in kind.values)
        case inspect.BoolType():
            return PLAIN[bool]
        case inspect.IntType() | inspect.FloatType():
            word = PLAIN[int] if isinstance(kind, inspect.IntType) else PLAIN[float]
            low = kind.ge if kind.ge is not None else kind.gt
            high = kind.le if kind.le is not None else kind.lt
            if low is not None and high is not None:
                return f"{word}, {low} to {high}"
            return f"{word}, {low} or more" if low is not None else word
        case inspect.StrType():
            if kind.pattern and re.fullmatch(r"\^\([\w|]+\)\$", kind.pattern):
                return ", ".join(f'`"{word}"`' for word in kind.pattern[2:-2].split("|"))
            return PLAIN[str]
        case inspect.VarTupleType() | inspect.ListType():
            return (
                f"a list of {takes(kind.item_type)}".replace("of text", "of texts")
                .replace("of a whole number", "of whole numbers")
                .replace("of a path", "of paths")
            )
        case inspect.DictType():
            return "a table of texts"
        case inspect.CustomType() if kind.cls is Path:
            return "a path"
        case inspect.Metadata():
            return takes(kind.type)
    raise ValueError(f"what is {kind} in words?")


def _linked(text: str) -> str:
    """With what a page is about in place of its file's name."""

    def link(found: re.Match[str]) -> str:
        title = (PROJECT / found[0]).read_text(encoding="utf-8").partition("\n")[0]
        return f"[{title.removeprefix('# ').partition(':')[0]}](../{found[1]}.md)"

    return re.sub(r"docs/([\w-]+)\.md", link, text)


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _cell(text: str) -> str:
    """Braces at the end of a cell would be read as attributes of it."""
    text = text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
    return text.replace("{", "&#123;")


PAGES: Final = {"command-line.md": commands, "settings.md": settings}


if __name__ == "__main__":
    sys.exit(main())
