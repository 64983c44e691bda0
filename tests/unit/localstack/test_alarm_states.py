"""Alarm states, by the tables of the CloudWatch user guide on missing data."""

import pytest

from localstack.emulator.alarms.states import ALARM, INSUFFICIENT, OK, Rule, state_of

KEPT = "kept"
"""Not a state: whatever the alarm's state was."""

THRESHOLD = 10.0
VALUES = {"0": 1.0, "X": 99.0, "-": None}

TABLES = [
    # Data points; three of three must breach; then by the treatment of missing data:
    ("0-X-X", 3, {"missing": OK, "ignore": OK, "breaching": OK, "notBreaching": OK}),
    ("----0", 3, {"missing": OK, "ignore": OK, "breaching": OK, "notBreaching": OK}),
    ("-----", 3, {"missing": INSUFFICIENT, "ignore": KEPT, "breaching": ALARM, "notBreaching": OK}),
    ("0XX-X", 3, {"missing": ALARM, "ignore": ALARM, "breaching": ALARM, "notBreaching": ALARM}),
    ("--X--", 3, {"missing": ALARM, "ignore": KEPT, "breaching": ALARM, "notBreaching": OK}),
    # Two of three:
    ("0-X-X", 2, {"missing": ALARM, "ignore": ALARM, "breaching": ALARM, "notBreaching": ALARM}),
    ("00X0X", 2, {"missing": ALARM, "ignore": ALARM, "breaching": ALARM, "notBreaching": ALARM}),
    ("0-X--", 2, {"missing": OK, "ignore": OK, "breaching": ALARM, "notBreaching": OK}),
    ("----0", 2, {"missing": OK, "ignore": OK, "breaching": ALARM, "notBreaching": OK}),
    ("---X-", 2, {"missing": ALARM, "ignore": KEPT, "breaching": ALARM, "notBreaching": OK}),
]


@pytest.mark.parametrize(
    ("points", "to_alarm", "missing", "expected"),
    [
        (points, to_alarm, missing, expected)
        for points, to_alarm, by_treatment in TABLES
        for missing, expected in by_treatment.items()
    ],
)
def test_states_are_those_of_the_guides_tables(
    points: str, to_alarm: int, missing: str, expected: str
) -> None:
    rule = Rule("GreaterThanThreshold", THRESHOLD, periods=3, to_alarm=to_alarm, missing=missing)

    state = state_of([VALUES[each] for each in points], rule, before=KEPT)

    assert state == expected


def test_one_point_is_too_little_for_an_alarm_on_three() -> None:
    rule = Rule("GreaterThanThreshold", THRESHOLD, periods=3, to_alarm=3, missing="missing")

    assert state_of([None, None, None, None, 99.0], rule, before=OK) == OK


@pytest.mark.parametrize(
    ("comparison", "breaching"),
    [
        ("GreaterThanThreshold", [11]),
        ("GreaterThanOrEqualToThreshold", [10, 11]),
        ("LessThanThreshold", [9]),
        ("LessThanOrEqualToThreshold", [9, 10]),
    ],
)
def test_comparisons_agree_about_the_threshold_itself(
    comparison: str, breaching: list[int]
) -> None:
    rule = Rule(comparison, THRESHOLD, periods=1, to_alarm=1, missing="missing")

    found = [each for each in (9, 10, 11) if state_of([each], rule, before=OK) == ALARM]

    assert found == breaching
