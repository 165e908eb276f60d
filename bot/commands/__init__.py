"""The slash commands, a file each."""
