"""Redrive: puts dead letters through the archive again, and keeps those that fail again."""
