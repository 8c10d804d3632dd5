"""How replicas of one phase find those of the other, with what every engine has alike.

Replicas that read prompts hand their caches on to replicas that write tokens; a router sends each
request to one of the former and then to one of the latter.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import msgspec

from rackfit.engines.launch import FIRST_PORT, Host, Launched


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where a replica takes requests: its first node, and its place on all of its nodes."""

    host: str
    place: int

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self.host}:{FIRST_PORT + self.place}"


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """The words that start a program, and the files that they name."""

    words: tuple[str, ...]
    files: Mapping[str, str] = {}


class Phases:
    """What an engine does about phases; nothing at all, unless it says so.

    `router_package` names its router where the engine's published image does not have it. An
    engine that can be started and has replicas of one phase has a router.
    """

    router_package: ClassVar[str | None] = None

    def arguments(self, launched: Launched, place: int) -> tuple[str, ...]:
        """What the replica in a place is told besides, on all its nodes."""
        del launched, place
        return ()

    def environment(self, launched: Launched, host: Host, place: int) -> Mapping[str, str]:
        """Variables that a process on `host` is started with, of the replica in a place."""
        del launched, host, place
        return {}

    def router(self, prefill: Sequence[Endpoint], decode: Sequence[Endpoint], port: int) -> Program:
        """What listens at `port` of every address for these replicas."""
        raise NotImplementedError


PATIENCE = 7200
"""Seconds that a router waits for its replicas: weights of hundreds of gigabytes are read first."""


def peers(
    prefill: Iterable[Endpoint], decode: Iterable[Endpoint], bootstrap: int | None = None
) -> tuple[str, ...]:
    """How SGLang's router, and vLLM's that was made from it, are told of replicas.

    Args:
        prefill: replicas that read prompts.
        decode: replicas that write tokens.
        bootstrap: where a node's first prefill replica hands caches on, if that is a port apart.

    Source: sglang_router/router_args.py, vllm_router/router_args.py.
    """
    words: list[str] = []
    for one in prefill:
        words += ("--prefill", f"http://{one.address}")
        words += () if bootstrap is None else (str(bootstrap + one.place),)
    for one in decode:
        words += ("--decode", f"http://{one.address}")
    words.append(f"--worker-startup-timeout-secs={PATIENCE}")
    return tuple(words)
