"""The worker process: the only code that imports torch. Nothing else imports it."""
