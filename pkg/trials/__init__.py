"""Bids on, watches and breaks a real system, and checks what it promised."""
