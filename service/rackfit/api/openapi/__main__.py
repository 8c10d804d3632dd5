"""`python -m rackfit.api.openapi PATH`: write the contract, with the examples beside it."""

import sys
from pathlib import Path

from rackfit.api.openapi.document import build, spelled
from rackfit.api.openapi.examples import read_examples
from rackfit.api.operations import OPERATIONS


def main(arguments: list[str]) -> int:
    """Write the document to the one path given; examples are in `examples/` beside it."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m rackfit.api.openapi PATH\n")
        return 2
    target = Path(arguments[0])
    examples = read_examples(target.parent / "examples")
    target.write_bytes(spelled(build(OPERATIONS, examples)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
