"""The compose backend: containers that Docker runs, and what bidkit asks of it."""
