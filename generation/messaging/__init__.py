"""NATS JetStream between the bot and workers on other hosts: a connection, and what goes over it.

A job is an order in a work queue of its host. What is said of it comes back: progress and previews
on plain subjects, which may be lost; all else through a stream, and pictures through the object
store.
"""
