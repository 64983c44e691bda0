"""Lines that CloudWatch makes metrics of."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from prometheus_client.core import Metric
from structlog.testing import capture_logs

from pkg.runtime.emf import EMITTED, NAMESPACE, Emf, emf
from pkg.runtime.metrics import counter, gauge, labelled_counter, labelled_gauge, registry_of
from pkg.runtime.settings.sections import ServingSettings

MOST_METRICS_A_DIRECTIVE = 100  # CloudWatch's limit


class Counts:
    def __init__(self) -> None:
        self.accepted = 0.0
        self.broken = False

    def collect(self) -> Iterable[Metric]:
        if self.broken:
            raise RuntimeError("no counts today")
        yield counter("bid_accepted_total", "…", self.accepted)
        yield gauge("bid_connections", "Not emitted", 7)
        yield labelled_gauge("bid_outbox_depth", "…", "partition", {"p00": 3, "p01": 9})
        yield labelled_gauge("bid_viewers", "…", "mode", {"every": 5, "latest": 2})
        yield labelled_counter(
            "bid_archive_dead_letters_total", "…", "reason", {"seq_conflict": 1, "data": 2}
        )


def lines_of(counts: Counts) -> Emf:
    return Emf(registry_of(counts), service="api-gateway")


def read(line: bytes | None) -> dict[str, Any]:
    assert line is not None
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line_has_the_shape_that_cloudwatch_asks_for() -> None:
    document = read(lines_of(Counts()).line(1_700_000_000_000))

    about = document["_aws"]
    assert about["Timestamp"] == 1_700_000_000_000
    [directive] = about["CloudWatchMetrics"]
    assert directive["Namespace"] == NAMESPACE
    assert directive["Dimensions"] == [["Service"]]
    assert document["Service"] == "api-gateway"
    named = {metric["Name"] for metric in directive["Metrics"]}
    assert named == set(document) - {"_aws", "Service"}
    assert all(isinstance(document[name], int | float) for name in named)
    assert {metric["Unit"] for metric in directive["Metrics"]} <= {"Count", "Seconds"}
    assert len(EMITTED) <= MOST_METRICS_A_DIRECTIVE


def test_only_what_is_on_the_list_is_emitted() -> None:
    assert "bid_connections" not in read(lines_of(Counts()).line(0))


def test_labels_are_folded_by_the_highest_or_the_sum() -> None:
    document = read(lines_of(Counts()).line(0))

    assert document["bid_outbox_depth"] == 9
    assert document["bid_viewers"] == 7
    assert document["bid_archive_dead_letters_total"] == 3


def test_a_counter_is_told_as_what_was_added_since_the_line_before() -> None:
    counts = Counts()
    lines = lines_of(counts)
    counts.accepted = 5
    first = read(lines.line(0))
    counts.accepted = 12
    second = read(lines.line(0))

    assert (first["bid_accepted_total"], second["bid_accepted_total"]) == (5, 7)
    assert second["bid_outbox_depth"] == 9


def test_a_process_without_any_of_them_says_nothing() -> None:
    assert Emf(registry_of(), service="api-gateway").line(0) is None


def test_counts_that_cannot_be_read_are_told_once_and_stop_nothing() -> None:
    counts, written = Counts(), list[bytes]()
    lines = lines_of(counts)
    counts.broken = True

    with capture_logs() as said:
        lines.emit(written.append)
        lines.emit(written.append)
    counts.broken = False
    lines.emit(written.append)

    assert [record["why"] for record in said] == ["no counts today"]
    assert len(written) == 1
    assert written[0].endswith(b"}\n")


def test_what_could_not_be_written_is_counted_in_the_next_line() -> None:
    counts = Counts()
    written: list[bytes] = []
    lines = lines_of(counts)
    counts.accepted = 5

    def full(_: bytes) -> None:
        raise OSError("no space left")

    lines.emit(full)
    counts.accepted = 7
    lines.emit(written.append)

    assert read(written[0])["bid_accepted_total"] == 7


async def test_there_is_a_line_each_so_many_seconds_and_a_last_one() -> None:
    counts, written = Counts(), list[bytes]()
    settings = ServingSettings(emf_every_s=0.05)

    async with emf(settings, registry_of(counts), service="api-gateway", write=written.append):
        while len(written) < 2:
            await asyncio.sleep(0.01)
        counts.accepted = 4
    before_the_end = len(written)
    await asyncio.sleep(0.1)

    assert read(written[-1])["bid_accepted_total"] == 4
    assert len(written) == before_the_end


async def test_without_the_setting_there_is_none() -> None:
    written = list[bytes]()

    async with emf(
        ServingSettings(), registry_of(Counts()), service="api-gateway", write=written.append
    ):
        await asyncio.sleep(0.05)

    assert written == []
