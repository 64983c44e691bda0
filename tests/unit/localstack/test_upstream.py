"""Functions of MiniStack are replaced only while they are those that were read."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from localstack.emulator.upstream import (
    Reading,
    Replacement,
    UpstreamChangedError,
    hash_of,
    replace_all,
)

PACKAGE = Path(__file__).parents[3] / "localstack" / "emulator"


def greet(name: str) -> str:
    return f"hello {name}"


def loudly(original: Callable[[str], str], name: str) -> str:
    return original(name).upper()


@pytest.fixture
def service() -> Iterator[ModuleType]:
    module = ModuleType("emulated_service")
    module.__dict__.update(greet=greet, ACTIONS={"Greet": greet})
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


def test_replacement_gets_the_function_it_replaces(service: ModuleType) -> None:
    replace_all([Replacement("emulated_service", "greet", hash_of(greet), loudly)])

    assert service.greet("bidder") == "HELLO BIDDER"


def test_tables_of_actions_get_the_replacement_too(service: ModuleType) -> None:
    replace_all([Replacement("emulated_service", "greet", hash_of(greet), loudly)])

    assert service.ACTIONS["Greet"]("bidder") == "HELLO BIDDER"


def test_function_with_another_source_is_left_and_named(service: ModuleType) -> None:
    known = Replacement("emulated_service", "greet", hash_of(greet), loudly)
    other = Replacement("emulated_service", "greet", "0123456789ab", loudly)

    with pytest.raises(UpstreamChangedError, match=r"emulated_service\.greet is .* 0123456789ab"):
        replace_all([known, other])

    assert service.greet is greet


def test_function_that_is_gone_is_named(service: ModuleType) -> None:
    gone = Replacement("emulated_service", "part", "0123456789ab", loudly)

    with pytest.raises(UpstreamChangedError, match=r"emulated_service\.part is missing"):
        replace_all([gone])


def test_module_with_another_source_is_named_and_nothing_is_replaced(service: ModuleType) -> None:
    known = Replacement("emulated_service", "greet", hash_of(greet), loudly)
    other = Reading("localstack.emulator.upstream", "0123456789ab", by="a completion")

    with pytest.raises(UpstreamChangedError, match=r"upstream is .* 0123456789ab as a completion"):
        replace_all([known], read=[other])

    assert service.greet is greet


def test_every_module_whose_privates_are_used_is_registered() -> None:
    sources = [each.read_text() for each in PACKAGE.rglob("*.py")]
    imported = {
        name.strip()
        for source in sources
        for names in re.findall(r"from ministack\.services import (.+)", source)
        for name in names.split(",")
    }
    registered = {
        name
        for source in sources
        for name in re.findall(r'reads\("ministack\.services\.(\w+)"', source)
    }

    assert imported
    assert imported - registered == set()
