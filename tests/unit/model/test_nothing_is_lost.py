"""Runs the real relay and the real archival worker through hundreds of histories of failures.

Two relays and two workers share an outbox, a stream and an archive in memory; a promoted replica
of Redis brings a third relay. A seeded scheduler decides when and how each call ends, which process
crashes, which messages are lost, delayed, repeated or reordered, and which store loses data. The
promises must hold after each step. At the end everything is repaired, and every event that a store
still holds must be archived, or kept apart if only a superseded Redis accepted it.
"""

import re

import pytest

from tests.unit.model.search import search

BLOCKS, SEEDS_A_BLOCK = 10, 50

TROUBLES = {
    "a publish that was stored although its relay got an error": r"publish .* \.\.\. after",
    "a publish that arrives after its relay gave it up": r"late: relay-\w: publish",
    "a publish that the fence refuses": r"refused: wrong last sequence",
    "a relay that dies with a publish on its way": r"publish .* is done after the crash",
    "a commit that is done although its worker got an error": r"commit \.\.\. after",
    "a worker that dies between commit and acknowledgement": r"commit is done after the crash",
    "a batch archived before its predecessor": r"a stretch waits",
    "entries that leave the outbox unarchived": r"retire .* \.\.\. done",
    "entries published again from the oldest": r"publish p0\d 0-0 -> \S+ expecting [1-9]",
    "a stream deleted": r"the stream is deleted",
    "a stream's tail cut": r"tail is cut",
    "old messages that are removed from the stream": r"old messages are removed",
    "two events of one item and seq": r"dead letter: seq_conflict",
    "a Redis that forgets": r"redis-\w forgets",
    "a replica promoted beside its primary": r"is promoted",
    "what a superseded Redis accepted, kept apart": r"dead letter: superseded_epoch",
    "a forged watermark": r"notice: a forged watermark",
    "PostgreSQL away": r"away: .*postgres",
}


@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_event_that_a_store_holds_is_lost_archived_twice_or_skipped(block: int) -> None:
    for seed in range(block * SEEDS_A_BLOCK, (block + 1) * SEEDS_A_BLOCK):
        search(seed)


@pytest.mark.timeout(240)
def test_histories_contain_every_kind_of_trouble() -> None:
    traces = "\n".join(line for seed in range(BLOCKS * SEEDS_A_BLOCK) for line in search(seed))

    missing = [name for name, sign in TROUBLES.items() if not re.search(sign, traces)]

    assert not missing


def test_a_seed_reproduces_its_history() -> None:
    assert search(7) == search(7)
