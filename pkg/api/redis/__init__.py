"""Connections to Redis that send all commands of a tick in one write."""
