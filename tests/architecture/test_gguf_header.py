"""The reader of GGUF headers: what is written is read, and nothing else gets past it."""

import struct
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufs import Info, written
from rackfit.architecture.gguf.header import Entries, Header, TensorInfo, read_header
from rackfit.architecture.gguf.reader import read_gguf
from rackfit.architecture.gguf.types import TYPES
from rackfit.catalog.load import load_catalog
from rackfit.errors import InvalidInput

POINTER = "/model/gguf"
SCHEMES = load_catalog().schemes
SMALL: Mapping[str, Any] = {
    "llama.block_count": 1,
    "llama.context_length": 4096,
    "llama.embedding_length": 256,
    "llama.feed_forward_length": 512,
    "llama.attention.head_count": 8,
    "llama.attention.head_count_kv": 2,
    "llama.rope.freq_base": 10_000.0,
    "tokenizer.ggml.tokens": ["<s>", "a", "b"],
    "tokenizer.ggml.scores": [0.0, -1.0, -2.0],
}
TENSORS: list[Info] = [
    ("token_embd.weight", (3, 256), 12),
    ("output_norm.weight", (256,), 0),
    ("blk.0.attn_q.weight", (256, 256), 14),
    ("blk.0.ffn_down_exps.weight", (4, 256, 512), 12),
]
HEADER = written("llama", SMALL, TENSORS)


def read(data: bytes) -> Header:
    """Read a header."""
    return read_header(data, pointer=POINTER)


def refusal(data: bytes) -> str:
    """Return the one thing said of bytes that are no header."""
    with pytest.raises(InvalidInput) as refused:
        read(data)
    (violation,) = refused.value.violations
    assert POINTER == violation.pointer
    return violation.detail


def answered(data: bytes) -> bool:
    """Tell that there is a model, or a refusal that points at the header."""
    try:
        return bool(read_gguf(data, SCHEMES).architecture.layers)
    except InvalidInput as error:
        return all(violation.pointer == POINTER for violation in error.violations)


def crafted(*, tensors: int = 0, keys: int = 0, rest: bytes = b"", version: int = 3) -> bytes:
    """Return a header with counts of its own."""
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + rest


def text(value: str) -> bytes:
    """Return a string as GGUF writes it."""
    return struct.pack("<Q", len(value)) + value.encode()


def test_what_the_field_s_own_package_writes_is_read() -> None:
    """Numbers, text and lists; dimensions with the row first; types as schemes."""
    header = read(HEADER)
    assert "llama" == header.metadata["general.architecture"]
    assert 256 == header.metadata["llama.embedding_length"]
    assert Entries(3) == header.metadata["tokenizer.ggml.tokens"]
    assert (0.0, -1.0, -2.0) == header.metadata["tokenizer.ggml.scores"]
    assert [
        TensorInfo(name, tuple(reversed(shape)), TYPES[kind]) for name, shape, kind in TENSORS
    ] == list(header.tensors)


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
values = st.one_of(
    st.booleans(),
    st.integers(0, 2**32 - 1),
    st.floats(width=32, allow_nan=False),
    names,
    st.lists(st.integers(0, 1000), min_size=1, max_size=9),
)
shapes = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)


@given(
    metadata=st.dictionaries(names.map("x.{}".format), values, max_size=8),
    tensors=st.dictionaries(names, shapes, max_size=8),
)
def test_headers_go_round(metadata: dict[str, Any], tensors: dict[str, tuple[int, ...]]) -> None:
    """Whatever is written comes back."""
    infos: list[Info] = [(name, shape, 0) for name, shape in tensors.items()]
    header = read(written("llama", metadata, infos))
    found = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in header.metadata.items()
    }
    assert {**metadata, "general.architecture": "llama"} == found
    assert {n: tuple(reversed(s)) for n, s in tensors.items()} == {
        t.name: t.dimensions for t in header.tensors
    }


@given(cut=st.integers(0, len(HEADER) - 1))
def test_a_cut_header_says_where_it_ends(cut: int) -> None:
    """Every shorter beginning is refused; the data behind the whole one do not matter."""
    assert refusal(HEADER[:cut])
    assert read(HEADER) == read(HEADER + b"\0" * cut)


@given(data=st.data())
def test_a_damaged_header_is_read_or_refused(data: st.DataObject) -> None:
    """Flipped bytes, cuts and insertions give a model or InvalidInput, and soon."""
    damaged = bytearray(HEADER)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        match data.draw(st.sampled_from(["set", "drop", "repeat"])):
            case "set":
                damaged[at] = data.draw(st.integers(0, 255))
            case "drop":
                del damaged[at : at + data.draw(st.integers(1, 16))]
            case _:
                damaged[at:at] = damaged[at : at + 16]
        if not damaged:
            return
    begun = time.perf_counter()
    assert answered(bytes(damaged))
    assert time.perf_counter() - begun < 2


def test_numbers_no_header_has_are_refused_before_anything_is_made_of_them() -> None:
    """Counts, lengths and nesting beyond the bytes there are cost nothing."""
    huge, list_of = 1 << 62, struct.pack
    key = text("k")
    assert "announces" in refusal(crafted(tensors=huge))
    assert "announces" in refusal(crafted(keys=huge))
    assert "end within" in refusal(crafted(keys=1, rest=struct.pack("<Q", 200)))
    assert "at most 300" in refusal(crafted(keys=1, rest=struct.pack("<Q", huge)))
    assert "end within" in refusal(crafted(keys=1, rest=key + list_of("<IQ", 8, huge)))
    for kind in (0, 8, 9):
        assert "end within" in refusal(crafted(keys=1, rest=key + list_of("<IIQ", 9, kind, huge)))
    nested = list_of("<I", 9) + list_of("<IQ", 9, 1) * 100
    assert "nested more than 4" in refusal(crafted(keys=1, rest=key + nested))


def test_what_gguf_does_not_have_is_named() -> None:
    """Other files, other versions, unknown types, a key twice, impossible dimensions."""
    key = text("k")
    assert "do not begin" in refusal(b"PK\3\4")
    assert "version 1 is not read" in refusal(crafted(version=1))
    assert "of type 99" in refusal(crafted(keys=1, rest=key + struct.pack("<I", 99)))
    assert "lists type 99" in refusal(crafted(keys=1, rest=key + struct.pack("<IIQ", 9, 99, 1)))
    twice = (key + struct.pack("<IB", 0, 1)) * 2
    assert "two values" in refusal(crafted(keys=2, rest=twice))
    assert "9 dimensions" in refusal(crafted(tensors=1, rest=key + struct.pack("<I", 9)))
    flat = struct.pack("<IQQIQ", 2, 0, 5, 0, 0)
    assert "dimensions no tensor has" in refusal(crafted(tensors=1, rest=key + flat))
    retired = struct.pack("<IQIQ", 1, 5, 4, 0)
    assert "which ggml does not have" in refusal(crafted(tensors=1, rest=key + retired))


def test_a_tokenizer_of_usual_size_takes_no_time() -> None:
    """Llama 3's 128,256 tokens and 280,147 merges: some 7 MB, within a second."""
    count = 128_256 + 280_147
    tokens = text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, count)
    data = crafted(keys=1, rest=tokens + text("some-token") * count)
    begun = time.perf_counter()
    assert Entries(count) == read(data).metadata["tokenizer.ggml.tokens"]
    assert time.perf_counter() - begun < 1
