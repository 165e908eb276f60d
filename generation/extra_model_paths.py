"""ComfyUI's extra_model_paths.yaml: where its users' models lie, read as ComfyUI reads it.

A section has a `base_path` and lists of folders by kind, a line each, which are relative to it, or
to the YAML file where there is none. `is_default` puts a section's folders before all others.
Source: ComfyUI, utils/extra_config.py (its behaviour; no code of it is used).
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from generation.regular_files import printable, read_regular

KINDS: Final = frozenset(
    (
        *("checkpoints", "diffusion_models", "unet", "diffusers", "vae", "controlnet"),
        *("t2i_adapter", "loras", "lycoris", "upscale_models", "embeddings"),
        *("text_encoders", "text_encoder", "clip"),
    )
)
"""Of ComfyUI's kinds of folders those whose files can be used."""
FILE_MAX: Final = 256 * 1024
"""Bytes."""


class ExtraPathsError(Exception):
    """The file is not as ComfyUI's example is; the text says what is wrong."""


class ExtraFolder(msgspec.Struct, frozen=True):
    """A folder of models. `first` is one that goes before all others."""

    path: Path
    first: bool = False


def read(file: Path) -> tuple[ExtraFolder, ...]:
    """The folders that it names and that are there; of a base that is not, the base itself.

    Raises ExtraPathsError.
    """
    try:
        content = yaml.safe_load(read_regular(file, FILE_MAX).decode("utf-8-sig"))
    except OSError as error:
        raise ExtraPathsError(error.strerror or type(error).__name__) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise ExtraPathsError(f"it is no valid YAML{line}") from None
    if content is None:
        return ()
    if not isinstance(content, Mapping):
        raise ExtraPathsError("it has no sections with paths")
    found: dict[Path, ExtraFolder] = {}
    for name, section in content.items():
        if section is None:
            continue
        if not isinstance(section, Mapping):
            raise ExtraPathsError(f"`{_shown(name)}` is no section: write its paths below it")
        for folder in _section(file.absolute().parent, str(name), section):
            found.setdefault(folder.path, folder)
    return tuple(found.values())


def _section(beside: Path, name: str, section: Mapping[str, Any]) -> Iterator[ExtraFolder]:
    base, first = beside, bool(section.get("is_default"))
    if section.get("base_path") is not None:
        base = beside / _path(name, "base_path", section["base_path"])
        if not base.is_dir():
            yield ExtraFolder(Path(os.path.normpath(base)), first)
            return
    for kind, lines in section.items():
        if kind not in KINDS or lines is None:
            continue
        if not isinstance(lines, str):
            raise ExtraPathsError(f"`{kind}` of `{_shown(name)}` is no path, or a path a line")
        for line in lines.splitlines():
            if line.strip():
                path = Path(os.path.normpath(base / _path(name, kind, line.strip())))
                if path.is_dir():
                    yield ExtraFolder(path, first)


def _path(name: str, key: str, text: object) -> Path:
    """With `~` and environment variables in it put in."""
    if not isinstance(text, str) or not text.isprintable():
        raise ExtraPathsError(f"`{key}` of `{_shown(name)}` is no path")
    # as ComfyUI does it: what is not known stays as it is
    return Path(os.path.expandvars(os.path.expanduser(text)))  # noqa: PTH111


def _shown(name: object) -> str:
    return printable(str(name))[:80]
