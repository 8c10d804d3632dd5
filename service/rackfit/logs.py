"""Logs: structured lines on standard error, ours and our libraries' alike.

Nothing in a line comes from a caller unescaped, so that no request can forge one.
"""

import logging
import sys
from collections.abc import Sequence

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from rackfit.settings import Settings

LIBRARY_LEVEL = logging.WARNING


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


def _common() -> Sequence[Processor]:
    return (
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    )


def _rendering(settings: Settings) -> Sequence[Processor]:
    chosen = settings.log_format
    if chosen == "auto":
        chosen = "console" if sys.stderr.isatty() else "json"
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if chosen == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    return (structlog.processors.format_exc_info, escape_controls, renderer)


def escape_controls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Spell out what would end a line or steer a terminal; tracebacks are indented instead."""
    return {name: _escaped(name, value) for name, value in event.items()}


def _escaped(name: str, value: object) -> object:
    if not isinstance(value, str) or value.isprintable():
        return value
    if name == "exception":
        return "\n".join("    " + _spelled(line) for line in value.splitlines())
    return _spelled(value)


def _spelled(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
