"""The shared language of the system: bids, items, money, events, subjects and keys. No I/O."""
