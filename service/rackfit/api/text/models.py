"""Models as text: the list, one model, and what a model is made of."""

from collections.abc import Sequence

import msgspec

from rackfit.api.answers import ModelDetail, ModelList, ModelSummary
from rackfit.api.text.figures import NONE, billions, count
from rackfit.api.text.table import Lines, facts, names, page, paragraph, sentences, table
from rackfit.architecture.parameters import Parameters
from rackfit.catalog.entries import Card
from rackfit.memory.question import InspectAnswer, KvCacheLayout, TensorLine, gib


def model_list(answer: ModelList) -> str:
    """A line a model; parameters in billions."""
    last = answer.offset + len(answer.models)
    shown = f"{answer.offset + 1:,} to {last:,}" if answer.models else "none"
    lines = table(
        ("MODEL", ">PARAMS B", ">ACTIVE B", ">CONTEXT"),
        map(_summary, answer.models),
    )
    return page(lines, paragraph(f"{shown} of {answer.total:,}; ?limit= and ?offset= give others"))


def _summary(model: ModelSummary) -> tuple[str, ...]:
    return (
        model.id,
        billions(model.parameters),
        billions(model.active_parameters),
        count(model.context_tokens),
    )


def model_detail(answer: ModelDetail) -> str:
    """Everything the catalog knows of a model."""
    return page(
        facts(
            (
                (answer.id, answer.name),
                ("developer", answer.developer),
                ("family", answer.family),
                ("licence", answer.licence),
                ("released", answer.released or NONE),
                ("architecture", answer.architecture),
                ("context", f"{answer.context_tokens:,} tokens"),
                ("checkpoint", f"{gib(answer.checkpoint_bytes)} GiB"),
                ("KV cache", _kv_cache(answer.kv_cache)),
            )
        ),
        _parameters(answer.parameters),
        _card(answer.card),
        sentences("Also called", names(answer.aliases)),
        sentences("Related", names(answer.related)),
        sentences("Warnings", answer.warnings),
        sentences("Sources", answer.sources),
    )


def inspection(answer: InspectAnswer) -> str:
    """Parameters by part, and every tensor."""
    return page(
        facts(
            (
                (answer.id or "model", answer.name),
                ("architecture", answer.architecture),
                ("checkpoint", f"{gib(answer.checkpoint_bytes)} GiB"),
                ("KV cache", _kv_cache(answer.kv_cache)),
            )
        ),
        _parameters(answer.parameters),
        table(("TENSOR", ">COUNT", ">SHAPE", "SCHEME", ">GiB"), map(_tensor, answer.tensors)),
        sentences("Warnings", answer.warnings),
    )


def _kv_cache(layout: KvCacheLayout) -> str:
    constant = layout.bytes_per_sequence
    more = f" and {constant:,} bytes a sequence" if constant else ""
    return f"{layout.bytes_per_token:,} bytes a token{more}, in {layout.dtype}"


def _parameters(parameters: Parameters) -> Lines:
    by_part = msgspec.structs.asdict(parameters)
    rows = [(part.replace("_", " "), count(number)) for part, number in by_part.items() if number]
    return table(("PART", ">PARAMETERS"), rows)


def _card(card: Card | None) -> Lines:
    if card is None:
        return []
    given = msgspec.structs.asdict(card).items()
    rows = [(name.replace("_", " "), _shown(value)) for name, value in given]
    return table(("CARD", "AS PUBLISHED"), rows)


def _shown(value: int | str | Sequence[str] | None) -> str:
    match value:
        case None | "":
            return NONE
        case int():
            return count(value)
        case str():
            return value
        case _:
            return ", ".join(value)


def _tensor(line: TensorLine) -> tuple[str, ...]:
    shape = "x".join(map(str, line.shape))
    return (line.name, count(line.count), shape, line.scheme, gib(line.bytes))
