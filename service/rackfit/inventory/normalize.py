"""Foreign formats in, one inventory out: the registry of readers.

A new format is one module with a `read` function and one line in `FORMATS`.
"""

from rackfit.errors import InvalidInput
from rackfit.inventory import kubernetes, nvidia_smi, slurm, table
from rackfit.inventory.model import Inventory
from rackfit.inventory.reading import Reader, Resolve, check_count

FORMATS: dict[str, Reader] = {
    "kubernetes": kubernetes.read,
    "slurm": slurm.read,
    "nvidia-smi": nvidia_smi.read,
    "csv": table.read,
}

_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def normalize(
    format: str,  # noqa: A002 - the name of the query parameter
    body: bytes,
    resolve: Resolve,
    *,
    node: str | None = None,
) -> Inventory:
    """Read `body`, which another tool printed, as an inventory a plan accepts unchanged.

    Args:
        format: A key of `FORMATS`.
        body: What the tool printed, as it printed it.
        resolve: The catalog's accelerator look-up.
        node: The host's name, where the format does not tell it.

    Raises:
        InvalidInput: The format is unknown, or the body is not in it or lists no accelerator.
    """
    reader = FORMATS.get(format)
    if reader is None:
        known = ", ".join(FORMATS)
        raise InvalidInput.at("?format", f"There is no format {format[:80]!r}. Known: {known}.")
    inventory = reader(_text(body), resolve, node)
    if not inventory.nodes and not inventory.skipped:
        raise InvalidInput.at("", "The body lists no accelerator.")
    check_count(len(inventory.nodes))
    return inventory


def _text(body: bytes) -> str:
    """Decode the body, byte order mark or not; PowerShell's `>` writes UTF-16."""
    encoding = "UTF-16" if body.startswith(_UTF_16_MARKS) else "UTF-8"
    try:
        return body.decode("utf-8-sig" if encoding == "UTF-8" else encoding)
    except UnicodeDecodeError as error:
        detail = f"The body is not {encoding} text: see byte {error.start}."
        raise InvalidInput.at("", detail) from None
