"""Connections to Redis that send commands once a tick."""
