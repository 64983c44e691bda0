"""Structured logs on stderr, one record per line: JSON for programs, text for people."""

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict


def configure(*, service: str, level: str, log_format: str) -> None:
    """Call it once, before anything is logged. It formats the records of libraries too."""

    def name_service(_: Any, __: str, record: EventDict) -> EventDict:  # noqa: ANN401 - a logger
        # Not a context variable: threads and callbacks start with an empty context.
        record["service"] = service
        return record

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        name_service,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any
    if log_format == "json":
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    else:
        shared.append(_on_one_line)
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # The rich formatter prints local variables, and so secrets.
            exception_formatter=structlog.dev.plain_traceback,
        )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # nats-py logs every failed reconnect as an error; NatsLink logs each change of state once.
    logging.getLogger("nats").setLevel(logging.CRITICAL)


def _on_one_line(_: Any, __: str, record: EventDict) -> EventDict:  # noqa: ANN401 - a logger
    """Escapes line breaks in the event, which the console renderer prints as it is."""
    record["event"] = str(record["event"]).replace("\r", "\\r").replace("\n", "\\n")
    return record


def get(room: str) -> structlog.stdlib.BoundLogger:
    """A logger; ``room`` names the part of the system that logs."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(room, room=room)
    return logger
