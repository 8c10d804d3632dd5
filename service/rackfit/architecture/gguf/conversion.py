"""An architecture as llama.cpp's converter lays it out, and what a file of a type stores of it.

Sources: llama.cpp, convert_hf_to_gguf.py and conversion/ (deepseek.py splits the matrix from the
latent row into one of keys, transposed, and one of values). Experts are stacked there, which
changes no byte; the file's own header and tokenizer (a few megabytes) are not counted.
"""

from collections.abc import Iterable, Iterator

import msgspec

from rackfit.architecture.gguf.roles import leaf, role_of
from rackfit.architecture.gguf.storage import GgufStorage
from rackfit.architecture.model import Architecture, LatentAttention, Tensor
from rackfit.architecture.quantization.rules import Quantization, Storage

FOLDED_MATRICES = 3  # a card's feed-forward stands for gate, up and down
# GLM-4.5's draft repeats embedding and head, and its files hold them (blk.46.nextn.embed_tokens);
# other families' readers say why engines load one of each.
COPYING = frozenset({"Glm4MoeForCausalLM"})
COPIES = {"embedding": "embed_tokens", "head": "shared_head.head"}


def as_gguf(
    architecture: Architecture, file_type: str, own: Storage
) -> tuple[Architecture, GgufStorage]:
    """Return the architecture as converted and what a file of this type stores of it.

    Args:
        architecture: of the checkpoint, or converted already.
        file_type: the scheme's id.
        own: what the checkpoint stores.
    """
    latent = next(
        (k.attention for k in architecture.kinds if isinstance(k.attention, LatentAttention)), None
    )
    distinct = {id(block): block for kind in architecture.kinds for block in kind.blocks}
    blocks = {at: tuple(_converted(block, latent)) for at, block in distinct.items()}
    kinds = tuple(
        msgspec.structs.replace(kind, blocks=tuple(blocks[id(block)] for block in kind.blocks))
        for kind in architecture.kinds
    )
    draft = (*_converted(architecture.draft, latent), *_copied(architecture))
    converted = msgspec.structs.replace(architecture, kinds=kinds, draft=draft)
    kept = own if isinstance(own, Quantization) and "mxfp4" in own.schemes else None
    return converted, GgufStorage(
        architecture=converted, file_type=file_type, own=kept, made_from=own
    )


def _converted(tensors: Iterable[Tensor], latent: LatentAttention | None) -> Iterator[Tensor]:
    for tensor in tensors:
        if latent is not None and leaf(tensor.name) == "kv_b_proj":
            yield from _apart(tensor, latent)
        elif role_of(tensor) == "folded":
            yield from _unfolded(tensor)
        else:
            yield tensor


def _copied(architecture: Architecture) -> Iterator[Tensor]:
    """Yield the draft's own embedding and head: stored, and no parameters of their own.

    Nothing where they stand there already: the architecture was converted before.
    """
    if architecture.name not in COPYING or any(t.buffer for t in architecture.draft if t.linear):
        return
    for number in range(architecture.draft_layers):
        at = f"model.layers.{len(architecture.order) + number}"
        for tensor in architecture.outer:
            if tensor.component in COPIES:
                yield msgspec.structs.replace(
                    tensor,
                    name=f"{at}.{COPIES[tensor.component]}.weight",
                    component="draft",
                    linear=True,
                    buffer=True,
                )


def _apart(tensor: Tensor, latent: LatentAttention) -> Iterator[Tensor]:
    """Yield the matrices from the latent row to each head's keys and values, one row a column."""
    for name, shape in (
        ("k_b_proj", (latent.heads * latent.latent_width, latent.nope_width)),
        ("v_b_proj", (latent.heads * latent.value_width, latent.latent_width)),
    ):
        renamed = tensor.name.replace("kv_b_proj", name)
        yield msgspec.structs.replace(tensor, name=renamed, shape=shape)


def _unfolded(tensor: Tensor) -> Iterator[Tensor]:
    """Yield a card's feed-forward as gate and up in one matrix and down in another."""
    rows, columns = tensor.shape
    down = rows // FOLDED_MATRICES
    at = tensor.name.removesuffix(".weight")
    for name, held in (("gate_up_proj", rows - down), ("down_proj", down)):
        if held:
            named = f"{at}.{name}.weight"
            yield msgspec.structs.replace(tensor, name=named, shape=(held, columns))
