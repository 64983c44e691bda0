from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from pkg.runtime.metrics import Buckets, counter, gauge, labelled_counter, registry_of
from pkg.runtime.readiness import metrics_page

BOUNDS = (0.5, 1.0, 2.5, 10.0)

values = st.lists(
    st.one_of(
        st.sampled_from([*BOUNDS, 0.0]), st.floats(0, 100, allow_nan=False, allow_infinity=False)
    )
)


class Counts:
    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets

    def collect(self) -> list[object]:
        return [
            self._buckets.family("bid_x_seconds", "x"),
            counter("bid_y_total", "y", 3),
            gauge("bid_z", "z", 2.5),
            labelled_counter("bid_w_total", "w", "outcome", {"a": 1, 'quote"\n': 2}),
        ]


@given(values)
def test_buckets_agree_with_counting_by_brute_force(observed: list[float]) -> None:
    buckets = Buckets(BOUNDS)
    for value in observed:
        buckets.observe(value)

    samples = {
        (sample.name, sample.labels.get("le")): sample.value
        for sample in buckets.family("x", "what").samples
    }

    for bound in BOUNDS:
        expected = sum(value <= bound for value in observed)
        assert samples["x_bucket", f"{bound:g}"] == expected
    assert samples["x_bucket", "+Inf"] == samples["x_count", None] == len(observed)
    assert abs(samples["x_sum", None] - sum(observed)) < 1e-6
    assert sum(buckets.counts) == len(observed)
    assert bisect_left(BOUNDS, 1.0) == 1


def test_metrics_page_is_parsed_by_prometheus() -> None:
    buckets = Buckets(BOUNDS)
    buckets.observe(0.7)

    page = metrics_page(registry_of(Counts(buckets)))  # type: ignore[arg-type]

    families = {each.name: each for each in text_string_to_metric_families(page.body.decode())}
    assert families["bid_x_seconds"].type == "histogram"
    assert families["bid_y"].samples[0].value == 3
    assert families["bid_z"].samples[0].value == 2.5
    assert {each.labels["outcome"] for each in families["bid_w"].samples} == {"a", 'quote"\n'}
    assert page.content_type.startswith("text/plain; version=0.0.4")


def test_each_scrape_reads_the_current_values() -> None:
    buckets = Buckets(BOUNDS)
    registry = registry_of(Counts(buckets))  # type: ignore[arg-type]
    first = metrics_page(registry).body

    buckets.observe(1)

    assert b"bid_x_seconds_count 0.0" in first
    assert b"bid_x_seconds_count 1.0" in metrics_page(registry).body


def test_registries_in_one_process_are_independent() -> None:
    one, other = Buckets(BOUNDS), Buckets(BOUNDS)
    one.observe(1)

    registries = [registry_of(Counts(each)) for each in (one, other)]  # type: ignore[arg-type]

    assert b"bid_x_seconds_count 1.0" in metrics_page(registries[0]).body
    assert b"bid_x_seconds_count 0.0" in metrics_page(registries[1]).body
