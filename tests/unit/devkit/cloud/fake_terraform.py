"""Terraform as the backends use it, without a program."""


class FakeTerraform:
    """Of two resources."""

    calls: list[str]

    def __init__(self, *_: object) -> None:
        FakeTerraform.calls = []

    def __getattr__(self, verb: str) -> object:
        def record(**_: object) -> list[str]:
            FakeTerraform.calls.append(verb)
            return ["aws_vpc.this", "aws_lb.this"]

        return record
