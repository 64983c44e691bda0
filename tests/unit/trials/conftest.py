"""Rows on containers run on the same stand-ins as bidkit's compose backend."""

from tests.unit.devkit.conftest import engine, place

__all__ = ["engine", "place"]
