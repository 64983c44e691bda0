"""Metrics of hot paths: plain ints and bucket arrays, converted for Prometheus at each scrape.

A prometheus_client counter costs a lock and a label lookup per increment; these cost an addition.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

LATENCY_BOUNDS_S = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
SIZE_BOUNDS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)


class Buckets:
    """A histogram's counts. Not thread-safe."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = LATENCY_BOUNDS_S) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def family(self, name: str, what: str) -> Metric:
        family = HistogramMetricFamily(name, what)
        family.add_metric([], buckets=self._cumulative(), sum_value=self.total)
        return family

    def _cumulative(self) -> list[tuple[str, float]]:
        rows: list[tuple[str, float]] = []
        count = 0
        for bound, more in zip((*self.bounds, float("inf")), self.counts, strict=True):
            count += more
            rows.append((f"{bound:g}" if bound != float("inf") else "+Inf", count))
        return rows


def counter(name: str, what: str, value: float) -> Metric:
    """A counter without labels; ``name`` ends in ``_total``."""
    return CounterMetricFamily(name, what, value=value)


def gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(name, what, value=value)


def labelled_counter(name: str, what: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, what, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def labelled_gauge(name: str, what: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, what, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


class Source(Protocol):
    """Yields its current metrics at a scrape."""

    def collect(self) -> Iterable[Metric]: ...


class _Scrape(Collector):
    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterable[Metric]:
        return self._source.collect()


def registry_of(*sources: Source) -> CollectorRegistry:
    """A new registry, so that two services in one test process do not share metrics."""
    registry = CollectorRegistry()
    for source in sources:
        registry.register(_Scrape(source))
    return registry
