"""Rows on containers use the same docker command as the compose backend."""

from tests.unit.devkit.conftest import docker_command, state_dir

__all__ = ["docker_command", "state_dir"]
