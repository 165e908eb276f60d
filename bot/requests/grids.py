"""Grids: what their pictures ask for, and how all of them become jobs at once."""

from bot.access.caller import Caller
from bot.requests.service import RequestService
from generation import prompt_flags
from generation.grids import GridPlan, cells, given_of, in_order_of
from generation.job import Job, Origin
from generation.refusal import Refused
from storage.grids import Grid, NewCell
from storage.intake import LimitReachedError


class CellRefusedError(Exception):
    """One picture of a grid can't be asked for: which, and why."""

    def __init__(self, cell: str, why: Refused) -> None:
        super().__init__(cell, str(why))
        self.cell = cell
        self.why = why


class GridRequests:
    """Makes jobs of grids. Raises Refused, with what to change; of one picture CellRefusedError."""

    def __init__(self, requests: RequestService) -> None:
        self._requests = requests

    async def cells(self, plan: GridPlan, caller: Caller) -> list[NewCell]:
        """The pictures of a grid, in the order in which they are best drawn."""
        most = self._requests.rules.limits.grid
        if plan.size > most:
            raise Refused("grid_large", count=plan.size, high=most)
        base = prompt_flags.merge(prompt_flags.parse(plan.prompt), plan.given)
        base.pop("private", None)
        usual = base.pop("preset", None)
        found: list[NewCell] = []
        listed = cells(plan)
        for cell in listed:
            given, preset = given_of(plan, cell, base)
            try:
                request, use = await self._requests.request_of(given, caller, preset or usual)
            except Refused as refused:
                raise CellRefusedError(cell.label, refused) from None
            found.append(NewCell(cell.place, request, use))
        order = in_order_of(listed, [cell.request.checkpoint for cell in found])
        return [found[place] for place in order]

    async def ask(self, grid: Grid, caller: Caller, origin: Origin) -> list[Job]:
        """Have a grid drawn that was proposed: all of its pictures or none."""
        requests = self._requests
        asked = await self.cells(grid.plan, caller)
        different = {(cell.request.prompt, cell.request.negative_prompt): cell for cell in asked}
        models = {(cell.request.checkpoint, cell.request.loras): cell for cell in asked}
        for cell in (*different.values(), *models.values()):
            await requests.check_new(cell.request, caller, origin, cell.preset)
        try:
            jobs = await requests.store.grids.ask(
                grid, asked, origin, requests.shares.limits_of(caller)
            )
        except LimitReachedError as reached:
            raise await requests.shares.refusal(reached, len(asked), caller) from None
        if jobs is None:
            raise Refused("grid_asked")
        for job in jobs:
            requests.workers.wake(job)
        return jobs
