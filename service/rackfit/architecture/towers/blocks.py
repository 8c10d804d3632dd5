"""The building blocks of vision towers; every tensor belongs to the component "vision"."""

from collections.abc import Callable, Iterator

import msgspec

from rackfit.architecture.fields import MAX_LAYERS, Fields
from rackfit.architecture.model import Tensor

Tower = Callable[[Fields, Fields, int], Iterator[Tensor]]
"""Vision section, whole config, language model's width -> the tower's tensors."""

SEPARATE = ("q_proj", "k_proj", "v_proj")


class Encoder(msgspec.Struct, frozen=True, kw_only=True):
    """A vision transformer: width, inner width of its feed-forward, depth."""

    width: int
    inner: int
    depth: int


def read_encoder(vision: Fields, prefix: str = "") -> Encoder:
    """Read an encoder; `prefix` may stand before the usual names (Kimi's `vt_`)."""
    return Encoder(
        width=vision.integer(f"{prefix}hidden_size", "hidden_size"),
        inner=vision.integer(f"{prefix}intermediate_size", "intermediate_size"),
        depth=vision.integer(
            f"{prefix}num_hidden_layers", "num_hidden_layers", "depth", most=MAX_LAYERS
        ),
    )


def channels(vision: Fields) -> int:
    """Return the colours of a pixel."""
    return vision.integer("num_channels", "in_channels", "in_chans", default=3, most=1024)


def patches(vision: Fields, patch: int, *, image_size: int) -> int:
    """Return how many patches a square image has; `image_size` is the default side."""
    side = vision.integer("image_size", default=image_size)
    detail = f"image_size = {side} is less than patch_size = {patch}."
    vision.require("image_size", detail, holds=side >= patch)
    return max(1, side // patch) ** 2


def weight(name: str, *shape: int, copies: int = 1) -> Tensor:
    """Return a parameter that is no Linear module's matrix."""
    return Tensor(name=name, shape=shape, component="vision", shard="vision", copies=copies)


def linear(
    name: str, rows: int, columns: int, *, bias: bool = False, copies: int = 1
) -> Iterator[Tensor]:
    """Yield a Linear module."""
    yield Tensor(
        name=f"{name}.weight",
        shape=(rows, columns),
        component="vision",
        shard="vision",
        copies=copies,
        linear=True,
    )
    if bias:
        yield weight(f"{name}.bias", rows, copies=copies)


def convolution(name: str, *shape: int, bias: bool = False) -> Iterator[Tensor]:
    """Yield a convolution, most often the one that cuts patches."""
    yield weight(f"{name}.weight", *shape)
    if bias:
        yield weight(f"{name}.bias", shape[0])


def norm(name: str, width: int, *, bias: bool = False, copies: int = 1) -> Iterator[Tensor]:
    """Yield a norm."""
    yield weight(f"{name}.weight", width, copies=copies)
    if bias:
        yield weight(f"{name}.bias", width, copies=copies)


def layers(  # noqa: PLR0913 - the ways in which encoders differ
    at: str,
    encoder: Encoder,
    *,
    attention: str,
    queries: tuple[str, ...] = SEPARATE,
    output: str,
    feed: tuple[str, ...],
    norms: tuple[str, ...],
    bias: bool = True,
    norm_bias: bool = True,
    attention_width: int | None = None,
) -> Iterator[Tensor]:
    """Yield all layers of an encoder.

    One name in `queries` means that queries, keys and values are fused. The last name in
    `feed` leads back out of the feed-forward.
    """
    width, depth = encoder.width, encoder.depth
    inner = width if attention_width is None else attention_width
    rows = inner * len(SEPARATE) // len(queries)
    for name in queries:
        yield from linear(f"{at}.{attention}{name}", rows, width, bias=bias, copies=depth)
    yield from linear(f"{at}.{attention}{output}", width, inner, bias=bias, copies=depth)
    for name in feed[:-1]:
        yield from linear(f"{at}.mlp.{name}", encoder.inner, width, bias=bias, copies=depth)
    yield from linear(f"{at}.mlp.{feed[-1]}", width, encoder.inner, bias=bias, copies=depth)
    for name in norms:
        yield from norm(f"{at}.{name}", width, bias=norm_bias, copies=depth)
