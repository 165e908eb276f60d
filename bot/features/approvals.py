"""The buttons under pictures that are held: a moderator lets them be shown, or not."""

from typing import Any, Final, Literal

import discord

from bot.access import permissions
from bot.access.caller import Caller
from bot.interactions.responding import Interaction, RespondingItem
from bot.locales import Texts
from bot.ui.approval_question import answered
from generation.refusal import Refused

VERDICTS: Final[dict[str, Literal["approved", "denied"]]] = {
    "approved": "approved",
    "denied": "denied",
}


class ApprovalButton(
    RespondingItem[discord.ui.Button[Any]],
    template=r"darkroom:approval:(?P<verdict>approved|denied):(?P<job>[0-9]{1,18})",
):
    """Approves or denies; whoever is first decides."""

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """Decide, and show what was decided, here and in the result."""
        permissions.check_person("approval", caller)
        services, job_id = interaction.client.services, int(self.fields["job"])
        store = services.store.approvals
        asked = await store.of(job_id)
        if asked is None or asked.guild_id != caller.place.guild_id:
            raise Refused("job_unknown")
        verdict = VERDICTS[self.fields["verdict"]]
        approval, decided = await store.decide(job_id, verdict, caller.person.id)
        if approval is None:
            raise Refused("job_unknown")
        texts = Texts(caller.guild.language or "en-US")
        await interaction.response.edit_message(content=answered(approval, texts), view=None)
        if decided:
            services.delivery.show_decided(job_id)
