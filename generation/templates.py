"""Requests whose prompts are drawn: they hold what was drawn, and beside it the template."""

from collections.abc import Collection
from pathlib import Path
from typing import Final

from generation.prompts import take_tags, wildcards
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_fields import PROMPT_MAX

TEMPLATES: Final = {"prompt": "template", "negative_prompt": "negative_template"}
"""Where the template of each text is kept."""
DRAWN: Final = (*TEMPLATES, "hires_prompt", "hires_negative_prompt")
"""Of the last two what was drawn is kept alone."""


def drawn(
    request: GenerationRequest, folder: Path | None, texts: Collection[str] = DRAWN
) -> GenerationRequest:
    """The request with these texts of it taken as templates, and drawn by its seed.

    A text of which nothing is drawn stays as it is, without a template. Raises Refused.
    """
    changes: dict[str, str | None] = {}
    for option in texts:
        written = getattr(request, option) or ""
        kept = TEMPLATES.get(option)
        if kept is not None:
            changes[kept] = None
        if wildcards.is_template(written):
            if kept is not None:
                changes[kept] = written
            changes[option] = _drawn(option, written, request, folder)
    return request.with_(**changes)


def redrawn(request: GenerationRequest, folder: Path | None) -> GenerationRequest:
    """The request with its templates drawn anew, by its seed. Raises Refused."""
    changes = {
        option: _drawn(option, template, request, folder)
        for option, field in TEMPLATES.items()
        if (template := getattr(request, field)) is not None
    }
    return request.with_(**changes) if changes else request


def _drawn(option: str, template: str, request: GenerationRequest, folder: Path | None) -> str:
    text = wildcards.draw(option, template, request.seed, folder).strip()
    for tag in take_tags(text)[1]:
        raise Refused("tag_drawn", tag=str(tag)[:80])
    if len(text) > PROMPT_MAX:
        raise Refused("too_long", option=option, length=len(text), high=PROMPT_MAX)
    if option == "prompt" and not text:
        raise Refused("prompt_drawn_empty")
    return text
