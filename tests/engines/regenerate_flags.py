"""Read the command-line options of vLLM, SGLang and their routers out of published packages.

    python tests/engines/regenerate_flags.py

downloads each package's wheel, reads its argument parsers as text (nothing of them is imported)
and writes the options into data/flags.json. The suite reads that file alone.
"""

import ast
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

DATA = Path(__file__).parent / "data" / "flags.json"
PARSERS = {
    "vllm": r"vllm/(engine/arg_utils|entrypoints/.*)\.py$",
    "sglang": r"sglang/srt/(server_args|arg_groups/fields/\w+)\.py$",
    "vllm-router": r"vllm_router/router_args\.py$",
    "sglang-router": r"sglang_router/router_args\.py$",
}


def options(source: str) -> Iterator[str]:
    """Yield what a parser adds: literal options, and fields that become options by their name.

    Routers write `f"--{prefix}name"`, with no prefix where they are started themselves.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value for part in node.values if isinstance(part, ast.Constant))
            node = ast.Constant("".join(map(str, parts)))  # noqa: PLW2901 (read as one)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"^--[a-z][a-z0-9-]+$", node.value)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield "--" + node.target.id.replace("_", "-")


def read(package: str) -> dict[str, object]:
    """Download a wheel and return its version and options."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", package]
        subprocess.run([sys.executable, "-m", *command, "--dest", folder], check=True)  # noqa: S603 (fixed words)
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if re.search(PARSERS[package], name)]
            found = {o for name in names for o in options(archive.read(name).decode())}
        return {"version": wheel.name.split("-")[1], "flags": sorted(found)}


if __name__ == "__main__":
    DATA.parent.mkdir(exist_ok=True)
    DATA.write_text(json.dumps({name: read(name) for name in PARSERS}, indent=1) + "\n")
