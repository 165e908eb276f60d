"""What Discord answers when it refuses: HTTP status, JSON error code and message.

The codes and messages are those of Discord's page "Opcodes and Status Codes".
"""

# ruff: noqa: N818  (named for what happened, as in Discord's own list)

from __future__ import annotations

from typing import Any, ClassVar


class DiscordError(Exception):
    """A refusal, rendered as `{"message": …, "code": …, "errors"?: …}`."""

    status: ClassVar[int] = 400
    code: ClassVar[int] = 0
    message: ClassVar[str] = "400: Bad Request"

    def __init__(self, errors: dict[str, Any] | None = None, *, message: str | None = None) -> None:
        self.text = message or self.message
        super().__init__(self.text)
        self.errors = errors

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"message": self.text, "code": self.code}
        if self.errors is not None:
            body["errors"] = self.errors
        return body


class Unauthorized(DiscordError):
    status, code, message = 401, 0, "401: Unauthorized"


class InvalidWebhookToken(DiscordError):
    status, code, message = 401, 50027, "Invalid Webhook Token"


class MissingAccess(DiscordError):
    status, code, message = 403, 50001, "Missing Access"


class CannotEditAnother(DiscordError):
    status, code, message = 403, 50005, "Cannot edit a message authored by another user"


class CannotSendToUser(DiscordError):
    status, code, message = 403, 50007, "Cannot send messages to this user"


class MissingPermissions(DiscordError):
    status, code, message = 403, 50013, "Missing Permissions"


class CannotOnSystemMessage(DiscordError):
    status, code, message = 403, 50021, "Cannot execute action on a system message"


class WrongChannelType(DiscordError):
    status, code, message = 400, 50024, "Cannot execute action on this channel type"


class NotFound(DiscordError):
    status, code, message = 404, 0, "404: Not Found"


class UnknownChannel(NotFound):
    status, code, message = 404, 10003, "Unknown Channel"


class UnknownGuild(NotFound):
    status, code, message = 404, 10004, "Unknown Guild"


class UnknownMember(NotFound):
    status, code, message = 404, 10007, "Unknown Member"


class UnknownMessage(NotFound):
    status, code, message = 404, 10008, "Unknown Message"


class UnknownUser(NotFound):
    status, code, message = 404, 10013, "Unknown User"


class UnknownEmoji(DiscordError):
    status, code, message = 400, 10014, "Unknown Emoji"


class UnknownWebhook(NotFound):
    status, code, message = 404, 10015, "Unknown Webhook"


class UnknownApplication(NotFound):
    status, code, message = 404, 10002, "Unknown Application"


class UnknownInteraction(NotFound):
    status, code, message = 404, 10062, "Unknown interaction"


class UnknownCommand(NotFound):
    status, code, message = 404, 10063, "Unknown application command"


class TooManyReactions(DiscordError):
    status, code, message = 400, 30010, "Maximum number of reactions reached (20)"


class TooManyCommands(DiscordError):
    status, code, message = 400, 30032, "Maximum number of application commands reached (100)"


class TooManyPins(DiscordError):
    status, code, message = 400, 30003, "Maximum number of pins reached for the channel (250)"


class TooLarge(DiscordError):
    status, code, message = 413, 40005, "Request entity too large"


class AlreadyAcknowledged(DiscordError):
    status, code, message = 400, 40060, "Interaction has already been acknowledged."


class EmptyMessage(DiscordError):
    status, code, message = 400, 50006, "Cannot send an empty message"


class BadBulkDelete(DiscordError):
    status, code = 400, 50034
    message = "You can only bulk delete messages that are under 14 days old."


class BadBulkDeleteCount(DiscordError):
    status, code = 400, 50016
    message = (
        "Provided too few or too many messages to delete. "
        "Must provide at least 2 and fewer than 100 messages to delete."
    )


class ArchivedThread(DiscordError):
    status, code, message = 400, 50083, "Thread is archived"


class AlreadyHasThread(DiscordError):
    status, code, message = 400, 160004, "A thread has already been created for this message"


class TooManyFollowUps(DiscordError):
    status, code = 400, 40094
    message = "Interaction has reached the maximum number of follow-up messages"


class InvalidForm(DiscordError):
    """`errors` nests as the request does, each leaf `{"_errors": [{"code", "message"}]}`."""

    status, code, message = 400, 50035, "Invalid Form Body"


class InvalidJson(DiscordError):
    status, code = 400, 50109
    message = "The request body contains invalid JSON."


class Refused(DiscordError):
    """What a person tried in the control interface can't be done; the text says why."""

    status, code, message = 400, 0, "This can't be done"
