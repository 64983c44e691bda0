"""From an HTTP request to a decision in Redis, and its answer."""
