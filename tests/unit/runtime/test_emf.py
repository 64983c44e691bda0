"""Log lines from which CloudWatch makes metrics."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from prometheus_client.core import Metric
from structlog.testing import capture_logs

from pkg.runtime.emf import EMITTED, NAMESPACE, Emf, emf
from pkg.runtime.metrics import counter, gauge, labelled_counter, labelled_gauge, registry_of
from pkg.runtime.settings.sections import ServingSettings

MAX_METRICS_PER_DIRECTIVE = 100  # CloudWatch's limit


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


def emf_of(counts: Counts) -> Emf:
    return Emf(registry_of(counts), service="api-gateway")


def read(line: bytes | None) -> dict[str, Any]:
    assert line is not None
    found: dict[str, Any] = json.loads(line)
    return found


def test_line_has_the_form_that_cloudwatch_requires() -> None:
    document = read(emf_of(Counts()).line(1_700_000_000_000))

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
    assert len(EMITTED) <= MAX_METRICS_PER_DIRECTIVE


def test_only_listed_metrics_are_emitted() -> None:
    assert "bid_connections" not in read(emf_of(Counts()).line(0))


def test_label_sets_are_combined_by_maximum_or_sum() -> None:
    document = read(emf_of(Counts()).line(0))

    assert document["bid_outbox_depth"] == 9
    assert document["bid_viewers"] == 7
    assert document["bid_archive_dead_letters_total"] == 3


def test_counter_is_emitted_as_its_increase_since_the_previous_line() -> None:
    counts = Counts()
    lines = emf_of(counts)
    counts.accepted = 5
    first = read(lines.line(0))
    counts.accepted = 12
    second = read(lines.line(0))

    assert (first["bid_accepted_total"], second["bid_accepted_total"]) == (5, 7)
    assert second["bid_outbox_depth"] == 9


def test_process_without_listed_metrics_emits_no_line() -> None:
    assert Emf(registry_of(), service="api-gateway").line(0) is None


def test_failing_collection_is_logged_once_and_the_next_line_is_written() -> None:
    counts, written = Counts(), list[bytes]()
    lines = emf_of(counts)
    counts.broken = True

    with capture_logs() as logs:
        lines.emit(written.append)
        lines.emit(written.append)
    counts.broken = False
    lines.emit(written.append)

    assert [record["why"] for record in logs] == ["no counts today"]
    assert len(written) == 1
    assert written[0].endswith(b"}\n")


def test_increase_of_a_line_that_was_not_written_is_in_the_next_line() -> None:
    counts = Counts()
    written: list[bytes] = []
    lines = emf_of(counts)
    counts.accepted = 5

    def full(_: bytes) -> None:
        raise OSError("no space left")

    lines.emit(full)
    counts.accepted = 7
    lines.emit(written.append)

    assert read(written[0])["bid_accepted_total"] == 7


async def test_lines_are_written_periodically_and_once_at_the_end() -> None:
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


async def test_no_line_is_written_without_the_setting() -> None:
    written = list[bytes]()

    async with emf(
        ServingSettings(), registry_of(Counts()), service="api-gateway", write=written.append
    ):
        await asyncio.sleep(0.05)

    assert written == []
