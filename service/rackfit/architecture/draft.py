"""Multi-token-prediction layers, which checkpoints append to the model and engines draft with."""

from collections.abc import Iterable, Iterator

import msgspec

from rackfit.architecture import parts
from rackfit.architecture.frame import Frame, Names
from rackfit.architecture.model import Layer, Tensor


def as_draft(tensors: Iterable[Tensor], old: str = "", new: str = "") -> Iterator[Tensor]:
    """Yield tensors as parts of the draft, `old` in their names replaced by `new`.

    Quantizers leave routers alone (DeepSeek-V3's layer 61).
    """
    for tensor in tensors:
        name = tensor.name.replace(old, new, 1) if old else tensor.name
        linear = tensor.linear and tensor.component != "router"
        yield msgspec.structs.replace(tensor, name=name, component="draft", linear=linear)


def appended_layers(names: Names, frame: Frame, layer: Layer, count: int) -> Iterator[Tensor]:
    """Yield `count` layers behind the last one, as DeepSeek-V3 appends them (paper, 2.2).

    Each is a whole decoder layer, the two norms and the projection that join the last hidden
    state to the next token's embedding, and a norm before the head. Embedding and head are the
    main model's: the copies of them in DeepSeek's checkpoint are not counted, because engines
    load one of each.
    """
    for number in range(frame.layers, frame.layers + count):
        at = f"{names.base}layers.{number}"
        yield from as_draft(join(at, frame.hidden))
        yield from as_draft(parts.norm(f"{at}.shared_head.norm", frame.hidden))
        yield from as_draft(layer.tensors, names.layer, at)


def join(at: str, hidden: int) -> Iterator[Tensor]:
    """Yield what joins the last hidden state to the next token's embedding.

    Quantizers leave the projection alone (vLLM, deepseek_mtp.py).
    """
    yield from parts.norms(at, hidden, "enorm", "hnorm")
    yield Tensor(name=f"{at}.eh_proj.weight", shape=(hidden, 2 * hidden), component="attention")
