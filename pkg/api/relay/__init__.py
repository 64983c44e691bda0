"""From the outbox in Redis to JetStream, and Redis opened again after it forgot."""
