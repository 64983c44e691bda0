"""Publishes the outbox to JetStream, trims it, and recovers a Redis that forgot bids."""
