"""The gateway: HTTP to Redis, and the relay from the outbox to JetStream."""
