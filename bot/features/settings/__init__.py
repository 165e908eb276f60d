"""`/settings`: what holds in a server, and for oneself."""
