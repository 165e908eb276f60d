"""Requests, the queue's order, the worker and the models: no Discord, no database."""
