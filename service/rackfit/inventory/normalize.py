"""Foreign formats in, one inventory out: the registry of readers.

A new format is one module with a `read` function and one line in `FORMATS`.
"""

from rackfit.errors import InvalidInput, Violation
from rackfit.inventory import kubernetes, nvidia_smi
from rackfit.inventory.model import MAX_NODES, Inventory, Skipped
from rackfit.inventory.reading import Reader, Resolve

FORMATS: dict[str, Reader] = {
    "kubernetes": kubernetes.read,
    "nvidia-smi": nvidia_smi.read,
}

_MAX_REASONS = 10
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
        InvalidInput: The format is unknown, the body is not in it, or no accelerator in it
            can be used; then each violation says why one node was left out.
    """
    reader = FORMATS.get(format)
    if reader is None:
        known = ", ".join(FORMATS)
        raise InvalidInput.at("?format", f"There is no format {format[:80]!r}. Known: {known}.")
    inventory = reader(_text(body), resolve, node)
    if not inventory.nodes:
        raise InvalidInput(*_nothing_usable(inventory.skipped))
    if len(inventory.nodes) > MAX_NODES:
        detail = f"{len(inventory.nodes):,} nodes are more than {MAX_NODES:,}."
        raise InvalidInput.at("", detail)
    return inventory


def _text(body: bytes) -> str:
    """Decode the body, byte order mark or not; PowerShell's `>` writes UTF-16."""
    encoding = "UTF-16" if body.startswith(_UTF_16_MARKS) else "UTF-8"
    try:
        return body.decode("utf-8-sig" if encoding == "UTF-8" else encoding)
    except UnicodeDecodeError as error:
        detail = f"The body is not {encoding} text: see byte {error.start}."
        raise InvalidInput.at("", detail) from None


def _nothing_usable(skipped: list[Skipped]) -> list[Violation]:
    """Say why each node was left out, for as many as a reader would look at."""
    shown = [
        Violation("", f"No accelerator is usable on {left.name} ({left.reason}).")
        for left in skipped[:_MAX_REASONS]
    ]
    more = len(skipped) - len(shown)
    if more:
        shown.append(Violation("", f"{more:,} more were left out."))
    return shown or [Violation("", "The body lists no accelerator.")]
