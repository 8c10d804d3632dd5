"""Count the parameters of every model in parameters_more.json anew, with transformers.

`make truth-data` runs it in the environment of `make truth`. The suite reads the file alone.
"""

import json
import sys
from pathlib import Path

from library import count

DATA = Path(__file__).parent / "data" / "parameters_more.json"


def main() -> None:
    """Recount every model in the file, or those named on the command line."""
    models = json.loads(DATA.read_text())
    for name in sys.argv[1:] or sorted(models):
        models[name]["parameters"] = count(models[name]["config"])
        sys.stderr.write(f"{name} {models[name]['parameters']['total']}\n")
        DATA.write_text(json.dumps(models, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
