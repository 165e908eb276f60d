"""A worker on another host than the bot's: takes orders over NATS, which a child process draws.

It knows nothing of Discord, of the database or of users, and imports no torch.
"""
