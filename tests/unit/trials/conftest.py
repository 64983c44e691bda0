"""Rows on containers use the fake docker command of the compose backend's tests."""

from tests.unit.devkit.conftest import docker_command, state_dir

__all__ = ["docker_command", "state_dir"]
