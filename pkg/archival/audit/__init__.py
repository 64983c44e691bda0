"""The audit: every bid that Redis accepted is accounted for in the archive, or named."""
