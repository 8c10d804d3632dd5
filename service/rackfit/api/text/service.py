"""The service itself as text: version, health and problems."""

from rackfit.api.answers import Live, Problem, Ready, Version
from rackfit.api.text.figures import things, yes_or_no
from rackfit.api.text.table import facts, page, paragraph
from rackfit.caching.redis_link import RedisState
from rackfit.memory.question import gib


def version(answer: Version) -> str:
    """What is running."""
    return page(
        facts(
            (
                ("rackfit", answer.version),
                ("catalog", f"{answer.catalog_digest} of {answer.catalog_date}"),
                ("kernel tables", answer.kernel_tables or "none"),
            )
        )
    )


def live(answer: Live) -> str:
    """One word."""
    return page([answer.status])


def ready(answer: Ready) -> str:
    """Whether to send requests, and the condition of each part."""
    memory, compute = answer.cache.memory, answer.compute
    return page(
        facts(
            (
                ("ready", yes_or_no(value=answer.ready)),
                ("rackfit", f"{answer.version}, catalog {answer.catalog_digest}"),
                ("cache", f"{things(memory.entries, 'answer')}, {gib(memory.held_bytes)} GiB"),
                ("redis", _redis(answer.cache.redis)),
                ("compute", f"{compute.processes:,} worker processes"),
                ("", f"{compute.in_progress:,} of at most {compute.limit:,} in progress"),
            )
        )
    )


def _redis(state: RedisState | None) -> str:
    if state is None:
        return "none configured"
    age = state.last_error_age_seconds
    last = "no error yet" if age is None else f"{state.last_error} {age:,.0f} s ago"
    return f"circuit {state.circuit}, {last}"


def problem(answer: Problem) -> str:
    """What is wrong and where."""
    lines = [*paragraph(f"{answer.status} {answer.title}"), *paragraph(answer.detail, 1)]
    for fault in answer.errors:
        lines += paragraph(f"at {fault.pointer or '(the whole body)'}: {fault.detail}", 1)
    if answer.request_id:
        lines += paragraph(f"request id {answer.request_id}", 1)
    return page(lines)
