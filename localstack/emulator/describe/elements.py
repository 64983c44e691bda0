"""Parts of the XML that EC2, RDS and ElastiCache answer with."""

from collections.abc import Iterable, Mapping
from xml.etree import ElementTree as ET


def add_missing(parent: ET.Element, texts: Mapping[str, str]) -> None:
    """Gives these children to an element that has none of that name, or an empty one."""
    for name, text in texts.items():
        child = parent.find(name)
        if child is None:
            child = ET.SubElement(parent, name)
        if not child.text and len(child) == 0:
            child.text = text


def replace_list(parent: ET.Element, name: str, texts: Iterable[str]) -> None:
    child = parent.find(name)
    if child is None:
        child = ET.SubElement(parent, name)
    for member in list(child):
        child.remove(member)
    for text in texts:
        ET.SubElement(child, "member").text = text


def listed(form: Mapping[str, str], prefix: str) -> list[str]:
    """The texts of ``PREFIX.1``, ``PREFIX.2`` and so on."""
    texts: list[str] = []
    while (text := form.get(f"{prefix}.{len(texts) + 1}")) is not None:
        texts.append(text)
    return texts
