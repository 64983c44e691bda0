"""Rows on containers use the same docker command as bidkit's compose backend."""

__all__ = ["docker_command", "state_dir"]
