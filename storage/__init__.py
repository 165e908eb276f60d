"""The database and the pictures on disk: the truth about jobs."""
