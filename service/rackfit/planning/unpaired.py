"""Why replicas that read prompts and replicas that write tokens were not put together."""

from collections import Counter
from collections.abc import Iterator, Mapping

from rackfit.engines.launch import Phase
from rackfit.engines.pairs import Handover, Side
from rackfit.planning.asked import Question
from rackfit.planning.changes import degrees, shown
from rackfit.planning.evaluation import MAX_REPLICAS
from rackfit.planning.matching import Pair
from rackfit.planning.outcomes import Fit
from rackfit.planning.question import Constraints
from rackfit.planning.search import Findings

DOES: Mapping[Phase, str] = {"prefill": "Replicas that read", "decode": "Replicas that write"}
"""What replicas of a phase are called."""


class Unpaired:
    """Sorts out pairs and remembers why, and which of them was nearest.

    Args:
        question: of a model, and of an engine whose rules pairs keep.
        devices: how many there are, by accelerator id.
        constraints: the caller's.
    """

    def __init__(
        self, question: Question, devices: Mapping[str, int], constraints: Constraints
    ) -> None:
        self._question = question
        self._devices = devices
        self._constraints = constraints
        self._broken: Counter[tuple[str, str | None]] = Counter()
        self._smallest: Pair | None = None
        self._earliest: Pair | None = None
        self._refused: dict[Phase, str] = {}

    def refused(self, phase: Phase, findings: Findings) -> None:
        """Remember which rule leaves no split of a phase to try on some accelerators."""
        tried = findings.fits or findings.misses or findings.passed_over
        if findings.refused and not tried:
            self._refused[phase] = findings.refused[0].detail

    def legal(self, prefill: Fit, decode: Fit) -> bool:
        """Tell whether the engine hands caches on between two splits."""
        question = self._question
        reads, writes = (Side(fit.split, fit.pool.accelerator) for fit in (prefill, decode))
        pair = Handover(model=question.model, prefill=reads, decode=writes)
        rejection = next(question.engine.pair_broken(pair), None)
        if rejection is None:
            return True
        self._broken[rejection.detail, rejection.source] += 1
        return False

    def has_room(self, pair: Pair) -> bool:
        """Tell whether the accelerators of a pair are allowed, and there."""
        most = self._constraints.max_accelerators
        read, pool = pair.prefill.split, pair.prefill.pool
        taken = pair.accelerators if pool is pair.decode.pool else read.devices
        fits = (
            read.replicas <= MAX_REPLICAS
            and (most is None or pair.accelerators <= most)
            and taken <= self._devices[pool.accelerator.id]
        )
        if not fits:
            self.lacks_room(pair)
        return fits

    def lacks_room(self, pair: Pair) -> None:
        """Remember a pair that finds no room if it is the smallest such."""
        if self._smallest is None or pair.accelerators < self._smallest.accelerators:
            self._smallest = pair

    def in_time(self, pair: Pair) -> bool:
        """Tell whether a prompt is read and handed on in the caller's time."""
        longest = self._constraints.max_seconds_to_first_token
        late = longest is not None and _first(pair) > longest
        if late and (self._earliest is None or _first(pair) < _first(self._earliest)):
            self._earliest = pair
        return not late

    def warnings(self, *, any_found: bool) -> Iterator[str]:
        """Tell which rules left pairs out and, where there is none, what the nearest lacks."""
        for (detail, source), number in self._broken.items():
            yield f"{number:,} pairs of splits were left out. {detail} Source: {source}."
        if not any_found:
            yield f"There is no plan of prefill and decode replicas: {self._lacking()}"

    def _there(self, pair: Pair) -> int:
        """Devices that a pair may take."""
        there = self._devices[pair.prefill.pool.accelerator.id]
        if pair.prefill.pool is not pair.decode.pool:
            there += self._devices[pair.decode.pool.accelerator.id]
        most = self._constraints.max_accelerators
        return there if most is None else min(there, most)

    def _lacking(self) -> str:
        if self._earliest is not None:
            first, longest = _first(self._earliest), self._constraints.max_seconds_to_first_token
            return f"the first token takes {first:.3g} s at least; {longest:g} s are allowed."
        pair = self._smallest
        if pair is None:
            why = "".join(f" {DOES[phase]}: {rule}" for phase, rule in self._refused.items())
            return (
                "no split of one phase has room, or none that the other's can be paired with." + why
            )
        read, written = (
            f"{side.split.replicas} x {shown(degrees(side.split))}"
            for side in (pair.prefill, pair.decode)
        )
        return (
            f"the smallest, {read} to read prompts and {written} to write tokens, takes "
            f"{pair.accelerators:,} accelerators; {self._there(pair):,} are there and allowed."
        )


def _first(pair: Pair) -> float:
    return pair.seconds_to_first_token + pair.transfer_seconds
