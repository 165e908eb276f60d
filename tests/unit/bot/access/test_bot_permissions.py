"""What the bot must be allowed before it draws."""

import pytest

from bot.access import permissions
from bot.locales import Texts
from generation.refusal import Refused

TEXTS = Texts("en-US")
ALL = frozenset((*permissions.IN_CHANNEL, "send_messages"))


@pytest.mark.parametrize("missing", sorted(ALL))
def test_each_permission_of_a_channel_counts(missing: str) -> None:
    permissions.check_permissions(ALL, TEXTS)
    with pytest.raises(Refused) as refusal:
        permissions.check_permissions(ALL - {missing}, TEXTS)
    assert refusal.value.params["names"] == TEXTS(f"permission_{missing}")
    permissions.check_permissions((ALL - {missing}) | {"administrator"}, TEXTS)


def test_threads_have_a_permission_of_their_own() -> None:
    with pytest.raises(Refused):
        permissions.check_permissions(ALL, TEXTS, thread=True)
    in_thread = ALL - {"send_messages"} | {"send_messages_in_threads"}
    permissions.check_permissions(in_thread, TEXTS, thread=True)


@pytest.mark.parametrize("missing", permissions.IN_ANSWERS)
def test_a_persons_app_needs_only_what_answers_need(missing: str) -> None:
    permissions.check_answering(permissions.IN_ANSWERS, TEXTS)
    with pytest.raises(Refused) as refusal:
        permissions.check_answering(set(permissions.IN_ANSWERS) - {missing}, TEXTS)
    assert refusal.value.params["names"] == TEXTS(f"permission_{missing}")
