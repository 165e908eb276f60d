"""Pictures that came with what was refused, kept within bounds so that it can be tried again."""

from typing import Final

from bot.interactions.responding import Interaction

KEPT_A_DAY: Final = 20
"""Pictures of one person that came with refused requests and are kept for a day."""


def may_keep(interaction: Interaction) -> bool:
    """Whether one more picture is kept that nothing is made of: whoever may ask for nothing must
    not fill the disk.
    """
    kept, user_id = interaction.client.pictures_kept, interaction.user.id
    return any(kept.add((user_id, number)) for number in range(KEPT_A_DAY))
