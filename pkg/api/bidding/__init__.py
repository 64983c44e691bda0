"""From an HTTP request to Redis' decision and the answer."""
