"""A local Discord: the part of its REST API, gateway and CDN that a bot uses, on loopback.

`python -m playground` runs it; `playground.process.local_discord` starts one for a test and
`playground.control.Control` acts as the people in it. See README.md for the protocol.
"""
