"""Events of accepted bids, from NATS to everybody who watches the item."""
