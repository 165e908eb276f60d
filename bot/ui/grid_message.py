"""What Discord shows of a grid: before it is confirmed, while it is drawn, and when it is done."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import discord

from bot.locales import Texts
from bot.ui.formatting import COLOUR, cut, cut_lines, duration, quoted
from bot.ui.job_embeds import awaits, failure
from bot.ui.modal import OPTIONS_MAX
from bot.ui.persistent_items import StatelessView
from generation.grids import GridLayout, GridPlan, cells, writable
from generation.job import Job, JobState
from generation.worker_pool import NOBODY, Awaited

PROMPT_MAX: Final = 1500
VALUES_MAX: Final = 600
"""Characters of an axis' values."""
LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SIDE: Final = 4096
"""Pixels of the longer side of the whole."""
SIDE_ON_THE_WAY: Final = 1280
QUALITY, QUALITY_ON_THE_WAY = 90, 75


def proposal(plan: GridPlan, seconds: float | None, left: int | None, texts: Texts) -> str:
    """What a grid would cost, to be confirmed: `seconds` until it is drawn, None where that is not
    known, and `left` how many pictures its owner may yet have today, None for any number.
    """
    counts = " × ".join(str(len(axis.values)) for axis in plan.axes)
    lines = [texts("grid_proposed", shape=counts, count=plan.size), *_axes(plan, texts)]
    if seconds is not None:
        lines.append(texts("grid_takes", time=duration(seconds, texts)))
    if left is not None:
        lines.append(texts("grid_quota", count=plan.size, left=left))
    return cut("\n".join(lines))


def proposal_buttons(grid_id: int, texts: Texts) -> discord.ui.View:
    """To draw it or not."""
    view = StatelessView()
    for do, style in (
        ("draw", discord.ButtonStyle.success),
        ("leave", discord.ButtonStyle.secondary),
    ):
        view.add_item(_button(do, grid_id, texts, style))
    return view


def embed(plan: GridPlan, name: str, texts: Texts) -> discord.Embed:
    """What it is of, and who asked."""
    text = "\n".join([quoted(plan.prompt, PROMPT_MAX), "", *_axes(plan, texts)])
    shown = discord.Embed(description=cut_lines(text), colour=COLOUR)
    return shown.set_author(name=name) if name else shown


def _axes(plan: GridPlan, texts: Texts) -> list[str]:
    lines = []
    for number, axis in enumerate(plan.axes):
        legend = _legend(axis.values)
        values = [
            f"{letter}: {value}" if letter != value else value
            for letter, value in zip(legend, axis.values, strict=True)
        ]
        written = quoted(", ".join(value or "–" for value in values), VALUES_MAX)
        lines.append(f"**{'XYZ'[number]} · {axis.name}**: {written}")
    return lines


def _legend(values: Sequence[str]) -> list[str]:
    """What stands beside the pictures: the values, or letters for them where the font has not every
    sign.
    """
    if all(map(writable, values)):
        return list(values)
    return [LETTERS[n % 26] * (n // 26 + 1) for n in range(len(values))]


def layout(
    plan: GridPlan, places: Sequence[int], marks: Mapping[int, str], *, whole: bool
) -> GridLayout:
    """Where what stands in the picture; `whole` is the last one, which is larger."""
    labels = [tuple(label or "–" for label in _legend(axis.values)) for axis in plan.axes]
    columns, rows, sheets = [*labels, ("",), ("",)][:3]
    if len(plan.axes) > 2:
        sheets = tuple(f"{plan.axes[2].name}: {label}" for label in sheets)
    return GridLayout(
        columns=columns,
        rows=rows,
        sheets=sheets,
        places=tuple(places),
        marks=dict(marks),
        side=SIDE if whole else SIDE_ON_THE_WAY,
        quality=QUALITY if whole else QUALITY_ON_THE_WAY,
    )


def state(jobs: Sequence[Job], left: float | None, texts: Texts, awaited: Awaited = NOBODY) -> str:
    """How far it is; `left` are the seconds until it is done, and `awaited` whom the next of it
    waits for that are away.
    """
    done = sum(job.ended for job in jobs)
    if done < len(jobs):
        said = [texts("grid_progress", done=done, count=len(jobs))]
        if awaited.names:
            model = next(job.request.made_with for job in jobs if not job.ended)
            said.append(awaits(awaited, model, texts))
        elif left is not None:
            said.append(texts("grid_left_time", time=duration(left, texts)))
        return " · ".join(said)
    failed = [job for job in jobs if job.state is JobState.FAILED]
    cancelled = [job for job in jobs if job.state is JobState.CANCELLED]
    lines = []
    if failed:
        lines.append(texts("grid_failed", count=len(failed), problem=failure(failed[0], texts)))
    if cancelled:
        lines.append(texts("grid_cancelled", count=len(cancelled)))
    return "\n".join(lines)


def buttons(grid_id: int, plan: GridPlan, jobs: Sequence[Job], texts: Texts) -> discord.ui.View:
    """While it is drawn, to cancel it; then menus to pick its pictures, and to delete it."""
    view = StatelessView()
    if not all(job.ended for job in jobs):
        view.add_item(_button("cancel", grid_id, texts, discord.ButtonStyle.secondary, "⛔"))
        return view
    labels = {cell.place: cell.label for cell in cells(plan)}
    places = [job.grid.place for job in jobs if job.grid is not None and job.pictures]
    for number in range(0, len(places), OPTIONS_MAX):
        some = places[number : number + OPTIONS_MAX]
        menu: discord.ui.Select[Any] = discord.ui.Select(
            custom_id=f"darkroom:grid_pick:{grid_id}:{number // OPTIONS_MAX}",
            placeholder=texts("grid_pick"),
            options=[
                discord.SelectOption(label=f"{place + 1}. {labels[place]}"[:100], value=str(place))
                for place in some
            ],
        )
        view.add_item(menu)
    view.add_item(_button("delete", grid_id, texts, discord.ButtonStyle.secondary, "❌"))
    return view


def _button(
    do: str, grid_id: int, texts: Texts, style: discord.ButtonStyle, emoji: str | None = None
) -> discord.ui.Button[Any]:
    return discord.ui.Button(
        style=style,
        label=texts(f"button_grid_{do}"),
        emoji=emoji,
        custom_id=f"darkroom:grid:{do}:{grid_id}",
    )
