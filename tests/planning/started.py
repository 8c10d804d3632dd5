"""Plans of one replica as they are started, for the tests of launching."""

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import truths
from rackfit.engines import engine_for
from rackfit.engines.choice import EngineChoice
from rackfit.engines.launch import Host, Launched, Phase
from rackfit.engines.split import Split
from rackfit.memory.question import ModelRef
from rackfit.memory.resolve import resolve
from rackfit.planning.launches import NodeCommand
from rackfit.planning.launching.commands import Step, steps


def launched(split: Split, kv_cache_dtype: str = "fp8", phase: Phase = "both") -> Launched:
    """Return a plan of DeepSeek-V3."""
    model = resolve(
        ModelRef(id="deepseek-ai/DeepSeek-V3"),
        truths.catalog(),
        quantization=None,
        kv_cache_dtype=kv_cache_dtype,
    ).model
    return Launched(
        model=model,
        split=split,
        utilization=0.92,
        context_tokens=65_536,
        sequences=4,
        phase=phase,
    )


def hosts(*sizes: int) -> list[Host]:
    """Return nodes that give so many devices."""
    return [Host(name=f"gpu-{n:02}", devices=tuple(range(s))) for n, s in enumerate(sizes)]


def steps_of(
    engine: str,
    split: Split,
    *sizes: int,
    **options: Any,  # noqa: ANN401 (any option)
) -> Sequence[Step]:
    """Return what is started of one replica over nodes of so many devices."""
    started = engine_for(EngineChoice(name=engine, **options), 0.1)
    name = "deepseek-ai/DeepSeek-V3"
    return steps(started, launched(split), name, [hosts(*sizes)], vendor="nvidia")


def commands(
    engine: str,
    split: Split,
    *sizes: int,
    **options: Any,  # noqa: ANN401 (any option)
) -> list[NodeCommand]:
    """Return their commands."""
    return [step.command for step in steps_of(engine, split, *sizes, **options)]


def option(command: NodeCommand, name: str) -> str | None:
    """Return an option's value in a command, None where it is not given."""
    words = shlex.split(command.command)
    return next((w.partition("=")[2] for w in words if w.partition("=")[0] == name), None)


def run_with_stubs(command: str, directory: Path) -> list[str]:
    """Run a command where every program only tells how it was called; return its words."""
    for name in ("mpirun", "srun", "trtllm-llmapi-launch", "trtllm-serve"):
        stub = directory / name
        stub.write_text('#!/bin/sh\nprintf \'%s\\n\' "$0" "$@"\n')
        stub.chmod(0o755)
    path = f"{directory}:{os.environ['PATH']}"
    done = subprocess.run(  # noqa: S603 (our own command)
        ["bash", "-c", command],  # noqa: S607 (the shell that is there)
        cwd=directory,
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    program, *words = done.stdout.splitlines()
    return [Path(program).name, *words]
