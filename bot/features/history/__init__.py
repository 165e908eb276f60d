"""`/history`: one's own pictures, newest first."""
