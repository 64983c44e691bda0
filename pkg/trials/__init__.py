"""Who bids, watches and breaks the system, and what is concluded from it."""
