"""Every port that the processes of a launch open: no two of a node are the same."""

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain

import pytest

from planning.started import launched
from rackfit.engines import engine_for
from rackfit.engines.choice import EngineChoice
from rackfit.engines.launch import PLACES, Host, Phase
from rackfit.engines.split import Split
from rackfit.planning.launching.commands import Step, missing, steps
from rackfit.planning.launching.router import ROUTER_PORT

EPHEMERAL = 32_768
"""From here Linux gives out ports itself (ip_local_port_range)."""

Replicas = Sequence[Sequence[Host]]
ALONE: Replicas = [[Host(name="a", devices=(2 * n, 2 * n + 1))] for n in range(48)]
ACROSS: Replicas = [[Host(name="a", devices=(n,)), Host(name="b", devices=(n,))] for n in range(24)]
OVERLAPPING: Replicas = [
    [Host(name=f"n{n}", devices=(0,)), Host(name=f"n{n + 1}", devices=(1,))] for n in range(100)
]
SPLITS = (Split(tensor=2), Split(data=2), Split(data=2, expert=2), Split(pipeline=2))


def number(text: str, name: str) -> int | None:
    """An option's value in a command, or a variable's."""
    found = re.search(rf"(?:^|\s)(?:--)?{name}=(?:[\w.-]+:)?(\d+)", text)
    return int(found[1]) if found else None


def vllm(text: str) -> Iterator[int | None]:
    """What vLLM opens besides.

    Sources: vllm/config/parallel.py (master_port; the coordinator's, over several nodes);
    nixl/base_scheduler.py (the side channel's and the number of the data rank).
    """
    headless = "--headless" in text
    if not headless and number(text, "node-rank") in {None, 0}:
        yield number(text, "master-port")
        yield number(text, "data-parallel-rpc-port")
    if (channel := number(text, "VLLM_NIXL_SIDE_CHANNEL_PORT")) is not None:
        first = number(text, "data-parallel-start-rank") or 0
        size = number(text, "data-parallel-size") or 1
        held = number(text, "data-parallel-size-local") or size
        yield from range(channel + first, channel + first + held)


def sglang(text: str) -> Iterator[int | None]:
    """What SGLang opens besides.

    Sources: sglang/srt/server_args.py, PortArgs.init_new (eight ports from the address on with
    attention DP, which is the HTTP port + 233 on one node if nothing is said, and 13 behind it);
    disaggregation/common/conn.py for the bootstrap server's.
    """
    met, attention_dp = number(text, "dist-init-addr"), "--enable-dp-attention" in text
    if (number(text, "node-rank") or 0) == 0:
        yield number(text, "disaggregation-bootstrap-port")
        if attention_dp:
            base = met or (number(text, "port") or 0) + 233
            yield from (*range(base, base + 8), base + 13)
        else:
            yield met


def tensorrt_llm(_text: str) -> Iterator[int | None]:
    """Nothing at a port that is told: it looks for free ones."""
    yield from ()


OPENED = {"vllm": vllm, "sglang": sglang, "tensorrt-llm": tensorrt_llm}


def opened(engine: str, step: Step) -> Iterator[tuple[str, int]]:
    """The nodes and ports that one step opens."""
    text = " ".join(shlex.split(step.line))
    for port in (number(text, "port"), *OPENED[engine](text)):
        if port is not None:
            yield step.hosts[0].name, port


def started(engine: str, split: Split, replicas: Replicas, phase: Phase) -> Sequence[Step]:
    """The steps of one side."""
    served = engine_for(EngineChoice(name=engine), 0.1)
    return steps(served, launched(split, "bf16", phase), "m", replicas, vendor="nvidia")


@pytest.mark.parametrize("engine", OPENED)
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("replicas", [ALONE, ACROSS, OVERLAPPING])
@pytest.mark.parametrize("sides", [("both",), ("prefill", "decode")])
def test_no_two_ports_of_a_node_are_the_same(
    engine: str, split: Split, replicas: Replicas, sides: Sequence[Phase]
) -> None:
    """Of replicas that share nodes, alone or as a pair with its router, below Linux's own."""
    if engine == "tensorrt-llm" and replicas is OVERLAPPING:
        replicas = ACROSS  # it takes the same devices of each node
    every = list(chain.from_iterable(started(engine, split, replicas, side) for side in sides))
    assert len({step.replica for step in every}) == len(replicas)
    found = Counter(chain.from_iterable(opened(engine, step) for step in every))
    assert not [where for where, times in found.items() if times > 1]
    ports = {port for _, port in found}
    assert ROUTER_PORT not in ports
    assert max(ports) < EPHEMERAL


def test_a_node_has_ports_for_so_many_replicas_and_says_so() -> None:
    """One more has no commands."""
    served, plan = engine_for(EngineChoice(name="vllm"), 0.1), launched(Split(), "bf16")
    replicas = [[Host(name="a", devices=(n,))] for n in range(PLACES + 1)]
    assert missing(served, plan, "m", replicas[:PLACES]) is None
    assert f"more than {PLACES} replicas" in str(missing(served, plan, "m", replicas))
