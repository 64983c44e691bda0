"""SQL from its files."""

from importlib.resources import files

_SQL = files("pkg.archival") / "sql"


def statement(name: str) -> str:
    """The text of ``sql/<name>.sql``, whose header names arguments and results."""
    return (_SQL / f"{name}.sql").read_text(encoding="utf-8")
