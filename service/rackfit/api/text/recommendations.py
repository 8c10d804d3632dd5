"""Recommendations as text: what does, cheapest first, and why not the rest."""

from collections.abc import Sequence

from rackfit.api.text.figures import NONE, count, split_label
from rackfit.api.text.table import Lines, page, paragraph, section, sentences, table
from rackfit.memory.question import gib
from rackfit.planning.recommendation import Recommendation, RecommendationAnswer, Unsuitable


def recommendation_answer(answer: RecommendationAnswer) -> str:
    """The verdict, a line for each that does, and a sentence for each that does not."""
    return page(
        _verdict(answer),
        _found(answer.recommendations),
        section("What does not do", _unsuitable(answer.unsuitable)),
        sentences("Warnings", answer.warnings),
    )


def _verdict(answer: RecommendationAnswer) -> Lines:
    tried = "" if answer.complete else " (the time was up; some were not tried)"
    if not answer.recommendations:
        return paragraph(f"NOTHING DOES{tried}")
    best = answer.recommendations[0]
    return paragraph(f"BEST: {best.accelerators:,} x {best.accelerator}{tried}")


def _found(found: Sequence[Recommendation]) -> Lines:
    titles = ("ACCELERATORS", "SPLIT", ">NODES", ">GiB", ">AN HOUR", ">SEQS", ">TOKENS/s")
    return table(titles, map(_line, found)) if found else []


def _line(one: Recommendation) -> tuple[str, ...]:
    price, speed = one.price_per_hour, one.performance
    return (
        f"{one.accelerators:,} x {one.accelerator}",
        split_label(one.split),
        count(one.nodes),
        gib(one.memory_bytes),
        NONE if price is None else f"{price:,.2f}",
        count(one.capacity.sequences),
        f"{speed.tokens_per_second:,.1f}" if speed else NONE,
    )


def _unsuitable(parts: Sequence[Unsuitable]) -> Lines:
    return [line for part in parts for line in paragraph(_why(part), 1)]


def _why(part: Unsuitable) -> str:
    reason = part.rejection.detail if part.rejection else "No split was tried."
    return f"{part.accelerator}: {reason}"
