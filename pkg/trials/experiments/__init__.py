"""The three experiments: what the system does under contention, fan-out and failure."""
