"""How a program that draws for the bot fails."""


class ServerError(Exception):
    """It is away, or answers what it never does; the text says how."""


class EndedError(Exception):
    """What it was told came to no picture: a sentence of `bot/locales/` and what that names."""

    def __init__(self, code: str, params: dict[str, str] | None = None, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.params = params or {}
        self.detail = detail
