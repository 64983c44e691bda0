"""The emulator stands on this very release of MiniStack."""

import json
import subprocess

import pytest

from tests.integration.cloud.emulated import IMAGE, Emulated

pytestmark = pytest.mark.timeout(1000)  # builds the image


def test_every_replaced_function_of_ministack_is_the_one_that_was_read(image: None) -> None:
    ran = subprocess.run(
        ("docker", "run", "--rm", IMAGE, "python", "-m", "localstack.emulator", "replacements"),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    replaced = json.loads(ran.stdout)
    assert replaced
    assert [each for each in replaced if each["is"] != each["expected"]] == []


def test_account_is_one_that_aws_gives_to_nobody(emulator: Emulated) -> None:
    assert emulator.client("sts").get_caller_identity()["Account"] == "000000000000"
