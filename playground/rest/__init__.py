"""Discord's REST API, version 10, under /api/v10: what the bot calls."""
