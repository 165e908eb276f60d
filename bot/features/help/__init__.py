"""How people learn what the bot does: `/help`, a welcome, an answer to direct messages."""
