"""Pin and hash every requirement for all supported interpreters at once.

Writes runtime.txt, build.txt, development.txt, audit.txt, fuzz.txt, otel.txt and silicon.txt beside
this file. The files name no URL and no index: where packages come from is the installer's business.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent / "pyproject.toml"
OLDEST_PYTHON = "3.11"
COMPILE = (
    *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal"),
    *("--generate-hashes", "--no-emit-index-url", "--no-emit-find-links"),
    *("--no-annotate", "--no-header", "--python-version", OLDEST_PYTHON, "--upgrade"),
)


def lock(name: str, *inputs: str) -> None:
    """Resolve `inputs` into the requirements file `name`."""
    target = HERE / name
    command = [*COMPILE, "--output-file", str(target), *inputs]
    subprocess.run(command, check=True, cwd=HERE.parent)  # noqa: S603 (fixed words of our own)
    if "://" in target.read_text():
        sys.exit(f"{target} names a URL; it must not")


def main() -> None:
    """Lock the sets; development is bound to what it runs with."""
    runtime, build = str(HERE / "runtime.txt"), str(HERE / "build.txt")
    lock("runtime.txt", str(PROJECT))
    lock("build.txt", "--group", "build")
    lock("development.txt", "--group", "development", "-c", runtime, "-c", build)
    lock("audit.txt", "--group", "audit")
    lock("fuzz.txt", "--group", "fuzz", "-c", runtime)
    lock("otel.txt", str(PROJECT), "--extra", "otel", "-c", runtime)
    lock("silicon.txt", str(PROJECT), "--extra", "silicon", "-c", runtime)


if __name__ == "__main__":
    main()
