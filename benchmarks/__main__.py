"""`python -m benchmarks`: time what is asked for, and print ratios."""

import argparse
import signal
import sys
from pathlib import Path
from typing import NoReturn

from benchmarks import computing, edge, overload
from benchmarks.measured import Measured
from benchmarks.pace import DEFAULT, QUICK, Pace
from benchmarks.report import as_text, report, write_json

KNOWN = (*edge.BY_NAME, *overload.NAMES, *computing.MEASURES)


def main() -> int:
    """Time what the arguments name; returns the exit status."""
    arguments = _parser().parse_args()
    # So that a run that is told to end still ends what it has started.
    signal.signal(signal.SIGTERM, _end)
    run = report(_measure(set(arguments.names or KNOWN), QUICK if arguments.quick else DEFAULT))
    sys.stdout.write(as_text(run))
    if arguments.json is not None:
        write_json(arguments.json, run)
    return 0


def _measure(names: set[str], pace: Pace) -> list[Measured]:
    """Take the named measures and, beside them, their units."""
    routes = edge.with_units(names)
    computations = [name for name in computing.MEASURES if name in names]
    return [
        *(edge.measure_edge(routes, pace) if routes else []),
        *overload.measure_overload(names, pace),
        *computing.measure_computing(computations, pace),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Time the service, as ratios to the least that could be done.",
        epilog=f"Measures: {', '.join(KNOWN)}.",
    )
    parser.add_argument(
        "names", nargs="*", type=_known_name, metavar="name", help="measures; all by default"
    )
    parser.add_argument("--quick", action="store_true", help="rough figures in half a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    return parser


def _known_name(name: str) -> str:
    if name not in KNOWN:
        msg = f"{name!r} is none of {', '.join(KNOWN)}"
        raise argparse.ArgumentTypeError(msg)
    return name


def _end(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
