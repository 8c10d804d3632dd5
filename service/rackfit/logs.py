"""Logs: structured lines on standard error, ours and our libraries' alike.

No request can forge a line: in JSON a line feed is spelled out, on a console what follows one is
indented.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from rackfit.settings import Settings

LIBRARY_LEVEL = logging.WARNING
_ENCODER = msgspec.json.Encoder(enc_hook=repr)


def configure_logging(settings: Settings) -> None:
    """Set up logging for this process, once at its start."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[*_common(), *_rendering(settings)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_common(), structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(settings),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, LIBRARY_LEVEL), force=True)


def lines(event: str) -> Callable[[dict[str, object]], None]:
    """Return what logs an event with its fields at level info.

    In JSON it is written without a logger's ado, which takes longer than a kept answer: there is
    one such line a request. To be called when logging is configured.
    """
    logger = structlog.get_logger()
    if structlog.get_config()["processors"][-1] is not as_json:
        return lambda fields: logger.info(event, **fields)
    if not logger.is_enabled_for(logging.INFO):
        return lambda _fields: None
    write = structlog.WriteLogger(sys.stderr).msg

    def line(fields: dict[str, object]) -> None:
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        fields |= {"event": event, "level": "info", "timestamp": now}
        write(_ENCODER.encode(fields).decode())

    return line


def _common() -> Sequence[Processor]:
    return (
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    )


def _rendering(settings: Settings) -> Sequence[Processor]:
    chosen = settings.log_format
    if chosen == "auto":
        chosen = "console" if sys.stderr.isatty() else "json"
    if chosen == "json":
        return (structlog.processors.format_exc_info, as_json)
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    return (structlog.processors.format_exc_info, escape_controls, console)


def as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Write a line as JSON; what JSON does not have as Python shows it."""
    return _ENCODER.encode(event).decode()


def escape_controls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Spell out what would steer a terminal, and indent every line but the first.

    JSON does the first by itself and has no second line.
    """
    return {name: _escaped(value) for name, value in event.items()}


def _escaped(value: object) -> object:
    if not isinstance(value, str) or value.isprintable():
        return value
    return "\n    ".join(_spelled(line) for line in value.split("\n"))


def _spelled(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
