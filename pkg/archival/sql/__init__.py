"""The SQL statements, one file each."""

from importlib.resources import files

_FILES = files(__name__)


def statement(name: str) -> str:
    """The text of ``<name>.sql``; its header names arguments and results."""
    return (_FILES / f"{name}.sql").read_text(encoding="utf-8")
