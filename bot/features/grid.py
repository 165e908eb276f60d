"""`/grid`: a request drawn with every combination of some values, in one picture."""

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import discord
import msgspec
from discord import app_commands
from discord.app_commands import Choice, locale_str

from bot.access import permissions
from bot.access.caller import Caller
from bot.interactions.autocomplete import choices, preset_choices, quiet
from bot.interactions.callers import token_of
from bot.interactions.contexts import Command, slash_command
from bot.interactions.drafts import typing
from bot.interactions.keeping import kept_anyway
from bot.interactions.kept_pictures import uploads_of
from bot.interactions.modal_submit import (
    SubmitHandler,
    Values,
    number_in,
    part_of,
    prompt_of,
    text_of,
)
from bot.interactions.responding import (
    Interaction,
    RespondingItem,
    check_can_post,
    defer,
    is_answered,
    leave_to_job,
    reply_privately,
    responding,
)
from bot.interactions.sight import at_component
from bot.interactions.uploaded_files import uploaded_files
from bot.pictures.uploads import read_attachment
from bot.requests.actions import ACTIONS, ActionTarget
from bot.requests.grids import CellRefusedError, GridRequests
from bot.services import Reopener, Services
from bot.ui import grid_message
from bot.ui.formatting import sentence
from bot.ui.modal import Modal
from generation import prompt_flags
from generation.grids import AXES_MAX, Axis, GridPlan, axis, axis_names
from generation.models import ModelKind
from generation.refusal import Refused
from generation.request_fields import RANDOM_SEED_MAX
from storage.drafts import Draft
from storage.grids import Grid

NAMES: Final = ("x", "y", "z")
GridWords = tuple[str, Mapping[str, str], Mapping[str, Any]]
"""The prompt, the lines of the axes, and what stands beside them."""


def command(services: Services) -> Command:
    """The command."""

    async def grid(
        interaction: Interaction,
        prompt: app_commands.Range[str, 1, 4000],
        x: app_commands.Range[str, 1, 50],
        x_values: app_commands.Range[str, 1, 2000],
        y: app_commands.Range[str, 1, 50] | None = None,
        y_values: app_commands.Range[str, 1, 2000] | None = None,
        z: app_commands.Range[str, 1, 50] | None = None,
        z_values: app_commands.Range[str, 1, 2000] | None = None,
        preset: str | None = None,
        model: str | None = None,
        negative_prompt: app_commands.Range[str, 1, 4000] | None = None,
        init_picture: discord.Attachment | None = None,
        private: bool | None = None,
    ) -> None:
        written = {"x": (x, x_values), "y": (y, y_values), "z": (z, z_values)}
        lines = {
            name: f"{axis_name or ''}: {values or ''}"
            for name, (axis_name, values) in written.items()
            if axis_name or values
        }
        beside = {"preset": preset, "model": model, "negative_prompt": negative_prompt}
        given = {name: value for name, value in beside.items() if value is not None}
        asked = prompt, lines, given
        _keep(services, interaction, asked, init_picture)
        async with responding(interaction) as caller:
            await _propose(services, interaction, caller, asked, init_picture, private)

    async def axes(_: Interaction, typed: str) -> list[Choice[str]]:
        return choices(axis_names(), typed)

    async def presets(interaction: Interaction, typed: str) -> list[Choice[str]]:
        return await preset_choices(services, interaction, typed)

    async def models(_: Interaction, typed: str) -> list[Choice[str]]:
        return choices(services.catalog.names(ModelKind.CHECKPOINT), typed)

    described = app_commands.describe(
        prompt=locale_str("what the picture shows", key="option_prompt_help"),
        x=locale_str("the option that changes from left to right", key="option_x_help"),
        x_values=locale_str(
            "its values: 10, 20, 30 or 1-5 or 1-9 (+2)", key="option_axis_values_help"
        ),
        y=locale_str("the option that changes from top to bottom", key="option_y_help"),
        y_values=locale_str("its values", key="option_axis_more_help"),
        z=locale_str("the option of which each value is a sheet", key="option_z_help"),
        z_values=locale_str("its values", key="option_axis_more_help"),
        preset=locale_str("a preset, this server's or your own", key="option_imagine_preset_help"),
        model=locale_str("the checkpoint that draws", key="option_model_help"),
        negative_prompt=locale_str(
            "what the picture should not show", key="option_negative_prompt_help"
        ),
        init_picture=locale_str(
            "a picture to start from, or to edit", key="option_init_picture_help"
        ),
        private=locale_str("answer so that only you see it", key="option_private_help"),
    )
    completed = app_commands.autocomplete(
        x=axes, y=axes, z=axes, preset=quiet(presets), model=models
    )
    help_ = "Draw with every combination of some values, in one picture"
    return slash_command("grid", help_, completed(described(grid)))


def _keep(
    services: Services,
    interaction: Interaction,
    written: GridWords,
    picture: discord.Attachment | str | None,
) -> None:
    """Have what was typed kept, should it be refused, with its picture; one that can't be kept is
    named, to be given again.
    """
    prompt, lines, beside = written
    # what stands beside the prompt is a flag in the modal
    prompt += "".join(f" --{name} {value}" for name, value in beside.items())

    async def draft() -> tuple[Draft, Sequence[str]]:
        kept: discord.Attachment | str | None = picture
        lost: list[str] = []
        if isinstance(picture, discord.Attachment):
            kept = await kept_anyway(services, interaction, picture)
            lost = [] if kept else [picture.filename]
        uploads = {"init_picture": kept} if isinstance(kept, str) else {}
        return Draft(name="grid", values={"prompt": prompt, **lines}, uploads=uploads), lost

    typing(interaction, draft)


async def _propose(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    written: GridWords,
    picture: discord.Attachment | str | None,
    private: bool | None,
) -> None:
    """Show what a grid would be, and what it costs, to be confirmed."""
    prompt, lines, beside = written
    permissions.check("/grid", caller)
    axes = _axes(lines)
    parsed = prompt_flags.parse(prompt)
    given: dict[str, Any] = dict(beside)
    if "private" in parsed.given:
        private = bool(parsed.given["private"])
    private = caller.own.private if private is None else private
    check_can_post(interaction, caller, private=private)
    preset = given.pop("preset", None)
    plan = GridPlan(
        prompt=prompt,
        given=given,
        preset=preset,
        private=private,
        seed=random.randint(0, RANDOM_SEED_MAX),
        axes=axes,
    )
    left = await services.requests.shares.check_asking(caller, plan.size)
    if isinstance(picture, discord.Attachment):
        await defer(interaction, private=True)
        limits = services.requests.rules.limits
        (content,) = await read_attachment(picture, caller.person.id, services.decoder, limits)
        picture = await services.store.jobs.keep_upload(content)
        _keep(services, interaction, written, picture)
    if picture is not None:
        plan = msgspec.structs.replace(plan, given={**given, "init_picture": picture})
    with _cell_named(caller):
        cells = await GridRequests(services.requests).cells(plan, caller)
    took = [await services.workers.seconds_measured(cell.request) for cell in cells]
    known = [seconds for seconds in took if seconds is not None]
    seconds = sum(known) if len(known) == len(took) else None
    grid_id = await services.store.grids.propose(caller.person.id, plan)
    await reply_privately(
        interaction,
        grid_message.proposal(plan, seconds, left, caller.texts),
        view=grid_message.proposal_buttons(grid_id, caller.texts),
    )


def _axes(lines: Mapping[str, str]) -> tuple[Axis, ...]:
    """Of lines such as `steps: 10, 20`. Raises Refused."""
    found: list[Axis] = []
    for name in NAMES:
        line = lines.get(name, "").strip()
        if not line:
            continue
        option, colon, values = line.partition(":")
        if not colon or not option.strip() or not values.strip():
            raise Refused("axis_incomplete", axis=name)
        made = axis(option, values)
        if any(other.name == made.name for other in found):
            raise Refused("axis_again", axis=made.name)
        found.append(made)
    if not found:
        raise Refused("axis_incomplete", axis=NAMES[0])
    return tuple(found[:AXES_MAX])


class GridButton(
    RespondingItem[discord.ui.Button[Any]],
    template=r"darkroom:grid:(?P<do>draw|leave|cancel|delete):(?P<grid>[0-9]{1,18})",
):
    """Draws a grid that was proposed, or not; cancels or deletes one."""

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """As the button says."""
        services = interaction.client.services
        grid = await services.store.grids.get(int(self.fields["grid"]))
        if grid is None:
            raise Refused("grid_gone")
        match self.fields["do"]:
            case "draw":
                await _draw(services, interaction, caller, grid)
            case "leave":
                _check_own(grid, caller)
                said = caller.texts("grid_left")
                await interaction.response.edit_message(content=said, view=None)
            case do:
                await _end(services, interaction, caller, grid, delete=do == "delete")


async def _draw(services: Services, interaction: Interaction, caller: Caller, grid: Grid) -> None:
    _check_own(grid, caller)
    permissions.check("/grid", caller)
    private = grid.plan.private
    check_can_post(interaction, caller, private=private)
    origin = caller.origin(private=private, interaction=token_of(interaction))
    # written down first, then acknowledged
    with _cell_named(caller):
        await GridRequests(services.requests).ask(grid, caller, origin)
    try:
        if not is_answered(interaction):
            await defer(interaction, private=private)
    finally:
        leave_to_job(interaction)
        services.delivery.grids.track(grid.id)


@contextlib.contextmanager
def _cell_named(caller: Caller) -> Iterator[None]:
    """Say of a refusal which picture of a grid it is about."""
    try:
        yield
    except CellRefusedError as refused:
        problem = sentence(caller.texts, refused.why.code, refused.why.params)
        raise Refused("grid_cell", cell=refused.cell, problem=problem) from None


def _check_own(grid: Grid, caller: Caller) -> None:
    if grid.user_id != caller.person.id:
        raise Refused("asker_only")


async def _end(
    services: Services, interaction: Interaction, caller: Caller, grid: Grid, *, delete: bool
) -> None:
    """Cancel what of a grid is not drawn yet; with `delete` its message goes, too."""
    jobs = await services.store.grids.cells(grid.id)
    if not jobs:
        raise Refused("grid_gone")
    there = await at_component(interaction, caller, jobs[0])
    act = "delete" if delete else "cancel"
    await services.requests.check(act, caller, jobs[0], there)
    await interaction.response.defer()
    if delete:
        # nothing is shown of it from now on
        await services.store.grids.done(grid.id)
    for job in jobs:
        if not job.ended:
            with contextlib.suppress(Refused):
                await services.requests.made.cancel(job)
    if delete:
        await interaction.delete_original_response()


class GridPicker(
    RespondingItem[discord.ui.Select[Any]],
    template=r"darkroom:grid_pick:(?P<grid>[0-9]{1,18}):(?P<page>[0-9]{1,2})",
):
    """Posts a picture of a grid by itself, with all that can be done with it."""

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """As the number under a request of several pictures does."""
        services = interaction.client.services
        place = number_in(part_of(self.item.values, 0))
        for job in await services.store.grids.cells(int(self.fields["grid"])):
            if job.grid is not None and job.grid.place == place:
                target = ActionTarget(ACTIONS["pick"], 0)
                await services.on_action(interaction, target, job.id)
                return
        raise Refused("own_picture_gone", job=int(self.fields["grid"]))


async def _on_submit(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    where: list[str],
    values: Values,
) -> None:
    """What was refused is handed in again."""
    lines = {name: text_of(values, name) for name in NAMES}
    kept = await uploads_of(services, caller, where)
    picture: discord.Attachment | str | None = kept.get("init_picture")
    for attachment in uploaded_files(interaction, values, "picture"):
        picture = attachment
    asked: GridWords = text_of(values, "prompt"), lines, {}
    _keep(services, interaction, asked, picture)
    prompt_of(values)
    await _propose(services, interaction, caller, asked, picture, None)


async def _reopen(_interaction: Interaction, caller: Caller, draft: Draft, number: int) -> Modal:
    texts = caller.texts
    modal = Modal(f"darkroom:grid:{number}", texts("dialog_grid"))
    modal.text("prompt", texts("dialog_prompt"), long=True, required=True)
    for name in NAMES:
        value = draft.values.get(name, "")
        modal.text(
            name,
            texts(f"dialog_axis_{name}"),
            value=value if isinstance(value, str) else "",
            placeholder="steps: 10, 20, 30",
            required=name == NAMES[0],
        )
    if not draft.uploads:
        about = texts("grid_picture_about")
        modal.file("picture", texts("dialog_grid_picture"), about)
    return modal


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {"grid": _on_submit}
REOPEN: Final[Mapping[str, Reopener]] = {"grid": _reopen}
