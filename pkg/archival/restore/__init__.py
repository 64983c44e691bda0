"""Rebuilds a Redis that forgot, from the archive and from what JetStream holds beyond it."""
