"""What each kind of layer remembers, and which layers are which."""

import copy
from collections import Counter

import msgspec
import pytest

from published import CONFIGS, llama
from rackfit.architecture.huggingface import read_config
from rackfit.architecture.model import (
    Architecture,
    CompressedAttention,
    DenseFeedForward,
    ExpertFeedForward,
    GroupedAttention,
    Indexer,
    LatentAttention,
    Layer,
    RecurrentAttention,
    Tensor,
)
from rackfit.architecture.parameters import count_parameters


def attentions(architecture: Architecture) -> list[object]:
    """Return each layer's attention from first to last."""
    return [layer.attention for layer in architecture.layers]


def test_equal_layers_are_one_kind() -> None:
    """Layers that are the same stand once; the order says which layer is which."""
    architecture = read_config(CONFIGS["google/gemma-2-2b-it"])

    assert len(architecture.kinds) == 2
    assert architecture.order == (0, 1) * 13


def test_sliding_layers_have_a_window() -> None:
    """Gemma 3 has five sliding layers before each full one."""
    windows = [
        a.window
        for a in attentions(read_config(CONFIGS["google/gemma-3-4b-it"]))
        if isinstance(a, GroupedAttention)
    ]

    assert windows[:6] == [1024] * 5 + [None]
    assert len(windows) == 34
    assert windows.count(None) == 5


def test_latent_attention_keeps_one_row_a_token() -> None:
    """DeepSeek-V3 caches a latent of 512 and a rotary part of 64 for all heads together."""
    kind = read_config(CONFIGS["deepseek-ai/DeepSeek-V3"]).kinds[0]

    assert kind.attention == LatentAttention(
        heads=128, latent_width=512, rope_width=64, nope_width=128, value_width=128
    )


def test_sparse_attention_has_an_indexer() -> None:
    """DeepSeek-V3.2's layers each keep an indexer key of 128 and read 2048 rows."""
    kind = read_config(CONFIGS["deepseek-ai/DeepSeek-V3.2"]).kinds[0]

    assert isinstance(kind.attention, LatentAttention)
    assert kind.attention.indexer == Indexer(heads=64, width=128, top_k=2048)
    assert kind.attention.top_k == 2048


def test_shared_indexers_have_no_tensors_of_their_own() -> None:
    """A layer that reads the rows an earlier layer chose has no indexer, in cache or weights."""
    config = {**CONFIGS["zai-org/GLM-5"], "indexer_types": ["full", "shared"] * 39}
    full, shared = read_config(config).layers[4:6]

    assert isinstance(shared.attention, LatentAttention)
    assert (shared.attention.indexer, shared.attention.top_k) == (None, 2048)
    assert any(".indexer." in t.name for t in full.tensors)
    assert not any(".indexer." in t.name for t in shared.tensors)


def test_indexers_are_shared_on_a_schedule_where_no_list_says_so() -> None:
    """Every fourth layer has an indexer of its own, and so have the first ones (GLM-5.2)."""
    config = dict(CONFIGS["zai-org/GLM-5.3"])
    listed = [t == "full" for t in config.pop("indexer_types")]
    layers = read_config(config).layers

    assert listed == [any(".indexer." in t.name for t in layer.tensors) for layer in layers]


def test_block_sparse_attention_keeps_index_keys() -> None:
    """MiniMax M3's layers behind the first three keep an index key of 128 and read 2048 rows."""
    layers = read_config(CONFIGS["nvidia/MiniMax-M3-NVFP4"]).layers
    indexers = [a.attention.indexer for a in layers if isinstance(a.attention, GroupedAttention)]

    assert indexers == [None] * 3 + [Indexer(heads=4, width=128, top_k=2048)] * 57


def test_values_may_be_narrower_than_keys() -> None:
    """MiMo-V2-Flash caches keys of 192 and values of 128, of twice the heads where it slides."""
    full, sliding = read_config(CONFIGS["XiaomiMiMo/MiMo-V2-Flash"]).layers[:2]

    assert full.attention == GroupedAttention(heads=64, kv_heads=4, key_width=192, value_width=128)
    assert sliding.attention == GroupedAttention(
        heads=64, kv_heads=8, key_width=192, value_width=128, window=128
    )


def test_layers_that_a_search_left_out_have_no_tensors() -> None:
    """A thinned Llama's layers lose attention, feed-forward or both, or keep a plain matrix."""
    whole = {"n_heads_in_group": 4}
    blocks = [
        {"attention": whole, "ffn": {"ffn_mult": 3.0}},
        {"attention": {"no_op": True}, "ffn": {"ffn_mult": 3.0}},
        {"attention": {"replace_with_linear": True}, "ffn": {"no_op": True}},
        {"attention": whole, "ffn": {"replace_with_linear": True}},
    ]
    first, second, third, fourth = llama(model_type="nemotron-nas", block_configs=blocks).layers

    assert first.attention == GroupedAttention(heads=8, kv_heads=2, key_width=8, value_width=8)
    assert first.feed_forward == DenseFeedForward(width=256)
    assert (second.attention, second.feed_forward) == (None, first.feed_forward)
    assert (third.attention, third.feed_forward) == (None, None)
    assert [t.shape for t in third.tensors] == [(64, 64), (64,)]
    assert (fourth.attention, fourth.feed_forward) == (first.attention, None)


def test_compressed_attention_of_the_published_v4_pro() -> None:
    """V4-Pro's layers compress by 128 or, with an indexer, by 4, beside a window of 128."""
    architecture = read_config(CONFIGS["deepseek-ai/DeepSeek-V4-Pro"])
    indexer = Indexer(heads=64, width=128, top_k=1024)
    by_four = CompressedAttention(
        heads=128, row_width=512, rope_width=64, window=128, ratio=4, indexer=indexer
    )
    by_many = msgspec.structs.replace(by_four, ratio=128, indexer=None)

    assert attentions(architecture)[2:4] == [by_four, by_many]
    assert architecture.experts == ExpertFeedForward(
        experts=384, active=6, width=3072, shared_width=3072
    )


def test_recurrent_layers_keep_a_state_per_sequence() -> None:
    """Qwen3.5's delta nets keep a convolution's tail and one f32 matrix a value head."""
    kinds = read_config(CONFIGS["Qwen/Qwen3.5-397B-A17B"]).kinds

    assert kinds[0].attention == RecurrentAttention(
        heads=16,
        convolution_elements=(2 * 16 * 128 + 64 * 128) * 3,
        state_elements=64 * 128 * 128,
        state_dtype="f32",
    )


def test_single_mixer_layers_lack_the_other_half() -> None:
    """A Nemotron-H layer is attention, Mamba, a mixture or a feed-forward, and nothing else."""
    architecture = read_config(CONFIGS["nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"])
    halves = [(k.attention is None, k.feed_forward is None) for k in architecture.kinds]

    assert architecture.kind_counts == (23, 23, 6)
    assert halves == [(False, True), (True, False), (False, True)]


def test_shared_caches_are_marked() -> None:
    """Gemma 4's last layers read an earlier layer's cache and have no keys of their own."""
    config = copy.deepcopy(CONFIGS["google/gemma-4-26B-A4B"])
    config["text_config"]["num_kv_shared_layers"] = 6
    last = read_config(config).layers[-1]

    assert isinstance(last.attention, GroupedAttention)
    assert last.attention.shares_cache
    assert not any("k_proj" in t.name or "v_proj" in t.name for t in last.tensors)


@pytest.mark.parametrize("model", sorted(CONFIGS))
def test_blocks_counted_once_are_all_layers_tensors(model: str) -> None:
    """No tensor of any layer is lost or counted twice, whichever kinds share its block."""
    architecture = read_config(CONFIGS[model])
    blocks = [block for _, block in architecture.blocks]
    assert len({id(block) for block in blocks}) == len(blocks)
    by_layer = Counter(t.name for layer in architecture.layers for t in layer.tensors)
    by_block: Counter[str] = Counter()
    for layers, block in architecture.blocks:
        for tensor in block:
            by_block[tensor.name] += layers
    assert by_block == by_layer


def test_kinds_of_layers_share_what_they_have_in_common() -> None:
    """DeepSeek-V3's dense layers and its mixtures have attention and norms in common."""
    architecture = read_config(CONFIGS["deepseek-ai/DeepSeek-V3"])
    dense, sparse = architecture.kinds
    shared = {id(block) for block in dense.blocks} & {id(block) for block in sparse.blocks}
    assert [len(block) for block in dense.blocks if id(block) in shared] == [7, 2]


def test_each_mixture_of_a_model_idles_by_its_own_choice() -> None:
    """Two mixtures that choose differently many experts are counted each by its own."""
    experts = Tensor(name="w", shape=(4, 6), component="routed_experts", copies=8)
    mixtures = [ExpertFeedForward(experts=8, active=active, width=4) for active in (2, 6)]
    architecture = msgspec.structs.replace(
        llama(),
        kinds=tuple(Layer(attention=None, feed_forward=m, blocks=((experts,),)) for m in mixtures),
        order=(0, 1, 1),
        outer=(),
    )
    assert count_parameters(architecture).total == 3 * 8 * 24
    assert count_parameters(architecture).active == (2 + 2 * 6) * 24
