"""Matrices whose columns have an order of their own: what a rank holds of them, table by table.

Of a matrix that is divided by its rows every rank has all columns, and so the whole table of their
groups; matrices an engine keeps as one share it. Of one that is divided by its columns a rank has
its part of the table, and all scales, as its columns may be of any group. Source: vLLM,
gptq_marlin.py (GPTQMarlinLinearMethod, GPTQMarlinMoEMethod) and compressed_tensors_wNa16.py;
marlin_utils.py, marlin_repeat_scales_on_all_ranks.
"""

from collections.abc import Iterable
from math import ceil

from rackfit.architecture.quantization import scale_bytes, tiles
from rackfit.engines.served import ServedModel, StoredTensor, by_columns
from rackfit.memory.shares import Share


def held_bytes(stored: StoredTensor, part: Share, whole: Share, hidden: int, *, zeros: bool) -> int:
    """Bytes of a rank's part of a matrix, its table left out.

    Args:
        stored: the matrix, all its copies.
        part: what the rank holds of it.
        whole: the copies the rank holds any part of.
        hidden: the model's width.
        zeros: whether zero points that say nothing stay.
    """
    tensor, scheme = stored.tensor, stored.scheme
    rows, columns = tensor.shape[-2:]
    dropped = 0 if zeros else tensor.copies * tiles(scheme, rows, columns) * scheme.zero_bytes
    rest = stored.stored_bytes - tensor.copies * tensor.shape[-1] * scheme.column_bytes
    if scheme.column_order != "sorted" or not by_columns(tensor, hidden):
        return ceil((rest - dropped) * part[0] / part[1])
    scales = ceil(tensor.copies * scale_bytes(scheme, rows, columns))
    kept = (scales - dropped) * whole[0] / whole[1]
    return ceil((rest - scales) * part[0] / part[1]) + ceil(kept)


def regrouped_bytes(stored: StoredTensor, part: Share, repeats: int) -> int:
    """Bytes of a rank's part of experts whose scales are repeated, each for a smaller group.

    Zero points that say nothing are dropped, and the table with them. Source: vLLM and SGLang,
    moe_wna16.py, MoeWNA16Method.create_weights (has_zp) and get_weight_loader.
    """
    tensor, scheme = stored.tensor, stored.scheme
    columns = tensor.shape[-1]
    rows = tensor.elements // (tensor.copies * columns)
    dropped = tiles(scheme, rows, columns) * scheme.zero_bytes
    scales = scale_bytes(scheme, rows, columns) - dropped
    more = (repeats - 1) * scales - dropped - columns * scheme.column_bytes
    return ceil((stored.stored_bytes + tensor.copies * more) * part[0] / part[1])


def least_bytes(model: ServedModel) -> int:
    """Bytes of all weights, less what engines may drop or share of them: no ranks hold fewer."""
    schemes = model.used_schemes
    if not any(scheme.zero_bytes or scheme.column_bytes for scheme in schemes):
        return model.weights_bytes
    layers = sum(count * sum(map(_dropped_bytes, block.tensors)) for count, block in model.blocks)
    return model.weights_bytes - layers - sum(map(_dropped_bytes, model.outer))


def _dropped_bytes(stored: StoredTensor) -> int:
    """Zero points that say nothing and tables of columns, at most."""
    tensor, scheme = stored.tensor, stored.scheme
    columns = tensor.shape[-1]
    rows = tensor.elements // (tensor.copies * columns)
    zeros = tiles(scheme, rows, columns) * scheme.zero_bytes if scheme.zero_bytes else 0
    return ceil(tensor.copies * (zeros + columns * scheme.column_bytes))


def table_bytes(
    tensors: Iterable[tuple[StoredTensor, int, Share, Share]], hidden: int
) -> Iterable[int]:
    """Bytes of the tables a rank keeps; each matrix with its bytes a column, part and whole."""
    found: dict[str, int] = {}
    for stored, kept, part, whole in tensors:
        tensor = stored.tensor
        held, of = part if by_columns(tensor, hidden) else whole
        size = tensor.copies * tensor.shape[-1] * kept
        found[tensor.fused or tensor.name] = -(-size * held // of)
    return found.values()
