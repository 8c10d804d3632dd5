"""Expert placements as text: how even it is, what moves, and a line a layer."""

from collections.abc import Iterator

from rackfit.api.text.figures import NONE, count, things
from rackfit.api.text.table import Lines, facts, page, paragraph, table
from rackfit.balancing.question import Balance, PlacedLayer, PlacementAnswer
from rackfit.memory.question import gib


def placement_answer(answer: PlacementAnswer) -> str:
    """The verdict first, then layer by layer; slots and formats are for programs."""
    return page(
        _verdict(answer),
        facts(_facts(answer)),
        table(
            (">LAYER", ">BALANCED", ">AT MOST", ">REPLICATED", "MOST REPLICAS", ">SHARED"),
            [_layer(number, layer) for number, layer in enumerate(answer.layers)],
        ),
    )


def _verdict(answer: PlacementAnswer) -> Lines:
    of = f"{things(len(answer.layers), 'layer')}, {count(answer.slots)} slots"
    where = f"{of} on {things(answer.ranks, 'rank')}"
    cut = "" if answer.complete else "; then the time was up"
    return paragraph(f"BALANCED {answer.balancedness.mean:.4f}: {where}{cut}")


def _facts(answer: PlacementAnswer) -> Iterator[tuple[str, str]]:
    yield "Mean and worst layer", _balance(answer.balancedness)
    if answer.current_balancedness:
        yield "As it is now", _balance(answer.current_balancedness)
    yield "No placement exceeds", _balance(answer.upper_bound)
    if answer.moved_slots is not None:
        size = "" if answer.moved_bytes is None else f", {gib(answer.moved_bytes)} GiB"
        yield "To move", things(answer.moved_slots, "slot") + size


def _balance(balance: Balance) -> str:
    return f"{balance.mean:.4f}, {balance.worst:.4f}"


def _layer(number: int, layer: PlacedLayer) -> tuple[str, ...]:
    replicas = [len(slots) for slots in layer.expert_to_slots]
    most = max(replicas, default=0)
    hottest = f"expert {replicas.index(most)} x{most}" if most > 1 else NONE
    return (
        str(number),
        f"{layer.balancedness:.4f}",
        f"{layer.upper_bound:.4f}",
        count(sum(several > 1 for several in replicas)),
        hottest,
        count(layer.shared),
    )
