"""The Discord front end: it talks to people and to the database, and never imports torch."""
