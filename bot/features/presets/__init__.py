"""`/preset`: the server's presets."""
