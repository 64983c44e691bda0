"""Numbers in sentences for people."""


def counted(number: int, noun: str) -> str:
    """The noun in its plural unless there is one; for nouns that take an s."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
