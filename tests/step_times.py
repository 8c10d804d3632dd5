"""Step times composed from kernels that others measured, and what the roofline says of each."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from math import exp, log
from pathlib import Path
from statistics import median, quantiles

import msgspec

from rackfit.catalog.entries import Accelerator, Efficiency
from rackfit.catalog.load import Catalog, load_catalog
from rackfit.engines import engine_for
from rackfit.engines.choice import EngineChoice
from rackfit.engines.split import Split
from rackfit.memory.question import ModelRef
from rackfit.memory.resolve import resolve
from rackfit.performance.efficiency import Phase, applied
from rackfit.performance.estimate import Speeds
from rackfit.performance.forward import Batch, Common, Forward
from rackfit.performance.serving import Serving

DATA = Path(__file__).parent / "truth" / "data"
ACCELERATORS = {
    "h100_sxm": "NVIDIA-H100-80GB-HBM3",
    "h200_sxm": "NVIDIA-H200",
    "b200_sxm": "NVIDIA-B200",
    "gb200": "NVIDIA-GB200",
}
"""Our names for the systems of aiconfigurator."""

BAND_PERCENT = 10
"""Points beyond either end of a band."""


class Row(msgspec.Struct, frozen=True):
    """A row of kernel_step_times.json: every rank of a split decodes or reads one batch."""

    model: str
    accelerator: str
    engine: str
    phase: Phase
    tensor: int
    data: int
    expert: int
    batch_per_data_rank: int
    input_tokens: int
    output_tokens: int
    kv_cache: str
    seconds_per_output_token: float | None
    seconds_to_first_token: float | None

    @property
    def pair(self) -> tuple[str, str]:
        """What is held out together: model and accelerator."""
        return self.model, self.accelerator

    @property
    def seconds(self) -> float:
        """The step time the row gives."""
        seconds = self.seconds_per_output_token or self.seconds_to_first_token
        assert seconds is not None
        return seconds

    @property
    def batch(self) -> Batch:
        """A prompt each, all in one pass; or one step at the mean context of the output."""
        sequences = self.batch_per_data_rank
        if self.phase == "prefill":
            return Batch(prompts=sequences, new=self.input_tokens, end=self.input_tokens)
        return Batch(decoding=sequences, context=self.input_tokens + self.output_tokens / 2)


class Point(msgspec.Struct, frozen=True):
    """A row beside the roofline's seconds for it, no efficiency applied."""

    row: Row
    engine: str
    generation: str
    modelled: float

    @property
    def ratio(self) -> float:
        """Measured over modelled seconds."""
        return self.row.seconds / self.modelled

    @property
    def group(self) -> tuple[str, str, Phase]:
        """What has one efficiency."""
        return self.engine, self.generation, self.row.phase


def rows() -> list[Row]:
    """All rows as they are written."""
    return msgspec.json.decode((DATA / "kernel_step_times.json").read_bytes(), type=list[Row])


class Rows:
    """All rows, modelled on the shipped catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._forwards: dict[tuple[str | int, ...], Forward] = {}

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """Every row modelled."""
        return tuple(map(self._point, rows()))

    def _point(self, row: Row) -> Point:
        forward = self._forward(row)
        return Point(
            row=row,
            engine=forward.common.engine.name,
            generation=forward.device.accelerator.generation,
            modelled=forward.seconds(row.batch),
        )

    def _forward(self, row: Row) -> Forward:
        key = (row.model, row.accelerator, row.engine, row.tensor, row.data, row.expert)
        if key not in self._forwards:
            self._forwards[key] = Forward(*served(row, self._catalog))
        return self._forwards[key]


def served(row: Row, catalog: Catalog) -> tuple[Common, Split, Accelerator, int]:
    """What a row is of: a model under an engine, its split, the accelerator and tokens."""
    resolved = resolve(
        ModelRef(id=row.model), catalog, quantization=None, kv_cache_dtype=row.kv_cache
    )
    return (
        Common(resolved.model, engine_for(EngineChoice(name=row.engine), 0.1)),
        Split(tensor=row.tensor, data=row.data, expert=row.expert),
        catalog.accelerators[ACCELERATORS[row.accelerator]],
        row.input_tokens + row.output_tokens,
    )


def fitted(points: Iterable[Point]) -> list[Efficiency]:
    """One efficiency an engine, generation and phase: the median over pairs of their medians.

    Each pair of model and accelerator counts once, however many of its rows there are.
    """
    groups: dict[tuple[str, str, Phase], list[Point]] = {}
    for point in points:
        groups.setdefault(point.group, []).append(point)
    return [_efficiency(group, found) for group, found in sorted(groups.items())]


def _efficiency(group: tuple[str, str, Phase], points: Sequence[Point]) -> Efficiency:
    pairs: dict[tuple[str, str], list[float]] = {}
    for point in points:
        pairs.setdefault(point.row.pair, []).append(log(point.ratio))
    slower = exp(median(median(logs) for logs in pairs.values()))
    residuals = [point.ratio / slower for point in points]
    low, *_, high = quantiles(residuals, n=100 // BAND_PERCENT, method="inclusive")
    engine, generation, phase = group
    return Efficiency(
        engine=engine,
        generation=generation,
        phase=phase,
        factor=round(1 / slower, 3),
        low=round(low, 3),
        high=round(high, 3),
        points=len(points),
    )


class Held(msgspec.Struct, frozen=True):
    """A point beside its estimate with efficiencies its pair had no part in."""

    point: Point
    error: float


def held_out(points: Sequence[Point]) -> Iterator[Held]:
    """Estimate each pair of model and accelerator with efficiencies fitted on all others."""
    for pair in dict.fromkeys(point.row.pair for point in points):
        others = fitted(point for point in points if point.row.pair != pair)
        for point in points:
            if point.row.pair == pair:
                factor = applied(others, *point.group).factor
                yield Held(point, abs(point.modelled / factor / point.row.seconds - 1))


def errors(held: Iterable[Held], of: Callable[[Point], bool]) -> tuple[int, float, float]:
    """How many points, and the median and 90th percentile of their errors."""
    found = [h.error for h in held if of(h.point)]
    return len(found), median(found), quantiles(found, n=10, method="inclusive")[-1]


def measured() -> tuple[Point, ...]:
    """Every row on the shipped catalog."""
    return Rows(load_catalog()).points


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """What throughput.json leaves open of a published deployment; all share hot experts out.

    `batch` sequences, or tokens of a prefill pass, are on each rank.
    """

    accelerator: str
    engine: str
    ranks: int
    batch: int
    context_tokens: int
    kv_cache: str = "bf16"
    accepted: float = 1.0


PREFILL_TOKENS = 16_384
"""Tokens a rank reads in a pass. Source: lmsys.org, large-scale EP, 2025-05-05."""

REDUNDANT_EXPERTS = 32
"""Source: the same, and DeepSeek-V3 report, 3.4.1."""

DEPLOYMENTS = {
    "sglang-h100-ep72-decode": Deployment(
        accelerator="h100", engine="sglang", ranks=72, batch=256, context_tokens=2000
    ),
    "sglang-h100-ep32-prefill": Deployment(
        accelerator="h100", engine="sglang", ranks=32, batch=PREFILL_TOKENS, context_tokens=4096
    ),
    # The batch is not published: what fits beside the weights by our own count.
    "sglang-gb200-ep48-decode-fp8": Deployment(
        accelerator="gb200", engine="sglang", ranks=48, batch=384, context_tokens=2000
    ),
    "sglang-gb200-prefill-fp8": Deployment(
        accelerator="gb200", engine="sglang", ranks=8, batch=PREFILL_TOKENS, context_tokens=2000
    ),
    # Batch 32 and 1.93 tokens a step: logs in sgl-project/sglang pull request 11854.
    "sglang-h20-ep16-decode": Deployment(
        accelerator="h20",
        engine="sglang",
        ranks=16,
        batch=32,
        context_tokens=4600,
        kv_cache="fp8",
        accepted=1.93,
    ),
    # 1,850 tokens a second at 20 to 22 a user are 88 users a rank.
    "deepseek-h800-decode": Deployment(
        accelerator="h800", engine="generic", ranks=144, batch=88, context_tokens=4989
    ),
}


def published(catalog: Catalog) -> Iterator[tuple[str, float, float]]:
    """Yield each published deployment, and our and its tokens a second and accelerator."""
    for case in msgspec.json.decode((DATA / "throughput.json").read_bytes()):
        ours = _throughput(catalog, case, DEPLOYMENTS[case["id"]])
        yield case["id"], ours, case["tokens_per_second_per_gpu"]


def _throughput(catalog: Catalog, case: dict[str, str], deployed: Deployment) -> float:
    model = resolve(
        ModelRef(id=case["model"]), catalog, quantization=None, kv_cache_dtype=deployed.kv_cache
    ).model
    choice = EngineChoice(name=deployed.engine, redundant_experts=REDUNDANT_EXPERTS)
    engine, ranks = engine_for(choice, 0.1), deployed.ranks
    accelerator, _ = catalog.accelerator(deployed.accelerator)
    split = Split(data=ranks, expert=ranks)
    context = deployed.context_tokens
    if case["phase"] == "prefill":
        forward = Forward(Common(model, engine), split, accelerator, context)
        batch = Batch(prompts=deployed.batch / context, new=context, end=context)
        prefill = applied(catalog.efficiencies, engine.name, accelerator.generation, "prefill")
        return deployed.batch * prefill.factor / forward.seconds(batch)
    drafted = int(deployed.accepted > 1)
    serving = Serving(
        sequences=deployed.batch,
        context_tokens=context,
        speculative_tokens=drafted,
        acceptance=deployed.accepted - 1 if drafted else 0.0,
    )
    speeds = Speeds(model, engine, catalog.efficiencies, context)
    run = speeds.run(split, accelerator, serving)
    assert run is not None
    return run.estimate().tokens_per_second_per_accelerator
