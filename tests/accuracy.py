"""`make accuracy`: every figure that others measured beside ours, and one line over all."""

import json
import sys
from collections.abc import Iterable, Iterator
from statistics import median

import step_times
import truths
from rackfit.architecture.huggingface import read_config
from rackfit.architecture.parameters import count_parameters

LIBRARY_FILLED_IN = "stepfun-ai/Step-3.7-Flash"
"""Its flat config has no tower and another vocabulary than the library's class filled in."""


def main() -> int:
    """Print the tables; returns 1 where a figure is further off than it may be."""
    figures = [
        *truths.vllm_figures(),
        *truths.tensorrt_figures(),
        *truths.engine_figures(),
        *truths.gguf_figures(),
    ]
    for figure in figures:
        sys.stdout.write(_line(figure))
    lines = [*summary(figures), *speeds()]
    sys.stdout.write("\n" + "".join(f"{line}\n" for line in lines))
    return int(not all(figure.holds for figure in figures))


def summary(figures: Iterable[truths.Figure]) -> list[str]:
    """One line a quantity: how many, median and worst error."""
    errors: dict[tuple[str, str], list[float]] = {}
    for figure in figures:
        errors.setdefault((figure.group, figure.quantity), []).append(figure.error)
    lines = [f"parameters  {exact_counts()} exact to the integer, with their parts"]
    lines += [
        f"{group}  {quantity}  {len(found)}  median {median(found):.2%}  worst {max(found):.2%}"
        for (group, quantity), found in errors.items()
    ]
    return lines


def speeds() -> Iterator[str]:
    """Step times of models on accelerators that were not fitted on, and published throughput."""
    points = step_times.measured()
    held = list(step_times.held_out(points))
    groups = sorted({point.group for point in points})
    named = [((phase,), phase) for phase in ("prefill", "decode")]
    named += [(group, f"{group[2]}  {group[0]} on {group[1]}") for group in groups]
    for group, name in named:
        count, middle, ninth = step_times.errors(held, lambda p, g=group: p.group[-len(g) :] == g)
        yield f"step times  {name}  {count}  median {middle:.1%}  90th percentile {ninth:.1%}"
    for case, ours, theirs in step_times.published(truths.catalog()):
        compared = f"ours {ours:,.0f}  published {theirs:,}  {ours / theirs - 1:+.0%}"
        yield f"throughput  {case}  {compared}"


def exact_counts() -> str:
    """How many of the 36 models' totals equal the library's."""
    models = json.loads((truths.DATA / "parameters.json").read_text())
    exact = sum(
        _counted(model["config"]) == _expected(name, model) for name, model in models.items()
    )
    return f"{exact}/{len(models)}"


def _counted(config: truths.Json) -> int:
    parameters = count_parameters(read_config(config))
    return parameters.total - parameters.vision


def _expected(name: str, model: truths.Json) -> int:
    """The library's language model; tests/truth/test_parameters.py compares towers too."""
    by_tensor = model["parameters"]["by_tensor"]
    tower = ("vision", "visual", "mm_projector", "multi_modal_projector")
    text = sum(n for tensor, n in by_tensor.items() if not any(t in tensor for t in tower))
    if name != LIBRARY_FILLED_IN:
        return text
    config = model["config"]
    rows = by_tensor["lm_head.weight"] // config["hidden_size"]
    return text + 2 * (config["vocab_size"] - rows) * config["hidden_size"]


def _line(figure: truths.Figure) -> str:
    mark = " " if figure.holds else "!"
    ours, theirs = f"{figure.ours:,.2f}", f"{figure.theirs:,.2f}"
    case = f"{figure.case} {figure.quantity}"
    return f"{mark} {figure.group:<12} {case:<72} {ours:>14} {theirs:>14} {figure.error:8.2%}\n"


if __name__ == "__main__":
    sys.exit(main())
