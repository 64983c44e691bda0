"""The document of faults keeps what other backends' runs found."""

from pkg.devkit.faults.document import section, with_section


def test_a_section_replaces_only_that_of_its_own_backend() -> None:
    both = with_section(with_section("", "process", "old words"), "compose", "of containers")

    renewed = with_section(both, "process", "new words")

    assert section(renewed, "process") == "new words"
    assert section(renewed, "compose") == "of containers"
    assert "old words" not in renewed


def test_processes_stand_before_containers_whichever_ran_first() -> None:
    document = with_section(with_section("", "compose", "of containers"), "process", "words")

    assert document.index("## On processes") < document.index("## In containers")


def test_writing_the_same_section_twice_changes_nothing() -> None:
    once = with_section("", "compose", "of containers")

    assert with_section(once, "compose", "of containers") == once
