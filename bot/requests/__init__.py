"""From what somebody wishes to a job in the queue: without Discord."""
