"""The fault bench: breaks a running system in each way of `rows` and counts the cost."""
