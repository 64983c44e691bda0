"""Logs on stderr: one record per line, from the services' own loggers and from libraries."""

import json

import pytest

from tests.unit.runtime.programs import run

PROGRAM = """
import asyncio, contextvars, logging, sys, threading
from pkg.runtime import logs
log = logs.get("room")
logs.configure(service="sample", level="info", log_format=sys.argv[1])
log.info("placed", item="vase", amount_cents=200)
log.debug("below the level")
log.warning("two\\nlines", why="a\\nb")
logging.getLogger("library").warning("from %s", "a library")
async def main():
    log.info("in a task")
    asyncio.get_running_loop().call_exception_handler({"message": "lost", "exception": KeyError(1)})
asyncio.run(main())
thread = threading.Thread(target=lambda: log.info("in a thread"))
thread.start(); thread.join()
contextvars.Context().run(lambda: log.info("in an empty context"))
try:
    secret = "pass" + "word-in-a-local"
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
"""


def test_json_logs_are_one_object_per_line_with_the_service() -> None:
    lines = run("-c", PROGRAM, "json").stderr.splitlines()

    records = [json.loads(line) for line in lines]
    assert [record["event"] for record in records] == [
        *("placed", "two\nlines", "from a library", "in a task", "lost"),
        *("in a thread", "in an empty context", "failed"),
    ]
    assert {record["service"] for record in records} == {"sample"}
    assert all(record["timestamp"].endswith("Z") and record["level"] for record in records)
    assert records[0] | {"item": "vase", "amount_cents": 200, "room": "room"} == records[0]
    assert "ZeroDivisionError" in records[-1]["exception"]


def test_text_logs_have_the_service_in_each_record() -> None:
    lines = run("-c", PROGRAM, "text").stderr.splitlines()

    records = [line for line in lines if "service=sample" in line]
    assert len(records) == 8
    assert "item=vase" in records[0]
    assert "two\\nlines" in records[1]
    assert "\x1b" not in "".join(lines)  # no colours into a file


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_traceback_shows_no_local_variables(log_format: str) -> None:
    output = run("-c", PROGRAM, log_format).stderr

    assert "ZeroDivisionError" in output
    assert "password-in-a-local" not in output
