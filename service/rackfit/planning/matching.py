"""Rate matching: as many replicas that read prompts as keep up with those that write tokens."""

from collections.abc import Sequence
from itertools import islice
from math import ceil
from typing import NamedTuple

import msgspec

from rackfit.engines.split import Split
from rackfit.errors import NotCovered
from rackfit.performance.device import Device
from rackfit.performance.run import Band, Estimate
from rackfit.performance.tabled import TabledSpeeds
from rackfit.planning.outcomes import Fit
from rackfit.planning.question import ROOFLINE
from rackfit.planning.ranking import Order


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Replicas that read prompts and replicas that write, and what they do together.

    - `requests_per_second` is what the decode replicas finish;
    - `busy` is the share of their time that the prefill replicas need for it;
    - `transfer_seconds` is what handing on one prompt's cache takes, which
      `seconds_to_first_token` is without;
    - `method` says by which kind of estimate, the same for both sides.
    """

    prefill: Fit
    decode: Fit
    requests_per_second: float
    busy: float
    transfer_seconds: float
    seconds_to_first_token: float
    seconds_per_output_token: float
    method: str

    @property
    def accelerators(self) -> int:
        """Accelerators of both."""
        return self.prefill.split.devices + self.decode.split.devices


class Reading(NamedTuple):
    """What one prefill replica does: prompts a second, and seconds until the first token."""

    prompts_per_second: float
    first: Band


class Rates:
    """What replicas of either phase do, by one kind of estimate; each split is looked at once.

    Args:
        reading: the order of prefill replicas, each of which serves a prompt at a time.
        writing: that of decode replicas, for the whole workload.
        method: what kind of estimate its speeds are.
    """

    def __init__(self, reading: Order, writing: Order, method: str = ROOFLINE) -> None:
        self._reading = reading
        self._writing = writing
        self.method = method
        self._read: dict[tuple[object, ...], Reading | None] = {}
        self._written: dict[tuple[object, ...], Estimate | None] = {}

    def by(self, tabled: TabledSpeeds) -> "Rates":
        """The same by tables of measured kernels."""
        reading, writing = (
            msgspec.structs.replace(order, speeds=tabled)
            for order in (self._reading, self._writing)
        )
        return Rates(reading, writing, tabled.source)

    def reading(self, fit: Fit) -> Reading | None:
        """What one replica of a split reads; None where that is not known or not covered."""
        alone = with_replicas(fit, 1)
        key = _key(alone)
        if key not in self._read:
            self._read[key] = _reading(self._reading, alone)
        return self._read[key]

    def writing(self, fit: Fit) -> Estimate | None:
        """How fast the replicas of a split write; None where that is not known or not covered."""
        key = _key(fit)
        if key not in self._written:
            self._written[key] = _writing(self._writing, fit)
        return self._written[key]

    def matched(self, decode: Fit, prefill: Fit) -> Pair | None:
        """The pair with as many prefill replicas as keep up; None where a side is not known."""
        writes = self.writing(decode)
        reads = None if writes is None else self.reading(prefill)
        if reads is None or writes is None:
            return None
        workload, each = self._writing.workload, writes.seconds_per_output_token.value
        requests = workload.sequences / (each * (workload.output_tokens or 1))
        number = ceil(requests / reads.prompts_per_second)
        return Pair(
            prefill=with_replicas(prefill, number),
            decode=decode,
            requests_per_second=requests,
            busy=requests / (number * reads.prompts_per_second),
            transfer_seconds=_transfer_seconds(prefill, decode, workload.input_tokens or 1),
            seconds_to_first_token=reads.first.value,
            seconds_per_output_token=each,
            method=self.method,
        )


def of_first(pairs: Sequence[Pair], most: int) -> list[Pair]:
    """The pairs of which both sides are among the first `most` splits of their phase."""
    sides = [(_key(pair.decode), _key(with_replicas(pair.prefill, 1))) for pair in pairs]
    decodes = set(islice(dict.fromkeys(decode for decode, _ in sides), most))
    prefills = set(islice(dict.fromkeys(prefill for _, prefill in sides), most))
    return [
        pair
        for pair, (decode, prefill) in zip(pairs, sides, strict=True)
        if decode in decodes and prefill in prefills
    ]


def in_flight(split: Split) -> int:
    """Prompts a data rank of a prefill replica holds: one in each stage, and one handed on."""
    return split.pipeline + 1


def with_replicas(fit: Fit, replicas: int) -> Fit:
    """The same split so many times."""
    return msgspec.structs.replace(fit, split=msgspec.structs.replace(fit.split, replicas=replicas))


def _key(fit: Fit) -> tuple[object, ...]:
    """What the speed of a split depends on."""
    return fit.pool.accelerator.id, fit.split, fit.partition


def _reading(order: Order, fit: Fit) -> Reading | None:
    try:
        run = order.run(fit)
        if run is None:
            return None
        return Reading(run.prompts_per_second, run.estimate().seconds_to_first_token)
    except NotCovered:
        return None


def _writing(order: Order, fit: Fit) -> Estimate | None:
    try:
        return order.estimate(fit)
    except NotCovered:
        return None


def _transfer_seconds(prefill: Fit, decode: Fit, tokens: int) -> float:
    """Seconds to hand on a prompt's cache over the network, each rank its own part at once."""
    return max(
        Device(fit.pool.accelerator).send_far(
            max(stage.cache.sequence_bytes(tokens) for stage in fit.stages.distinct)
        )
        for fit in (prefill, decode)
    )


def aim(pair: Pair, order: Order, spare: int) -> float:
    """What the objective makes of a pair, less being better; `spare` bytes are its headroom."""
    match order.objective:
        case "fewest-accelerators":
            return pair.accelerators
        case "lowest-cost":
            return order.price(pair.prefill) + order.price(pair.decode)
        case "most-headroom":
            return -spare
        case "lowest-latency":
            return pair.seconds_per_output_token
        case "highest-throughput":
            return -pair.requests_per_second
