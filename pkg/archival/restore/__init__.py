"""Rebuilds a Redis that lost data, from the archive and from newer events in JetStream."""
