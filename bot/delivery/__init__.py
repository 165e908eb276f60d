"""From a job to its message on Discord, and to the audit channel."""
