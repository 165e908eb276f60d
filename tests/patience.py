"""How long tests wait for what must come."""

from typing import Final

PATIENCE: Final = 60.0
"""Seconds; a busy machine is no failure, and what hangs is cut off all the same."""
