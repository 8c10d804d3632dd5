"""What llama-quantize stores in a file of each type: a default, and where it spends more bits.

A choice looks at where a tensor stands and answers with a type, None for the file's default.
Source: llama.cpp, src/llama-quant.cpp (llama_tensor_get_type_impl) as it stood from August 2024
to February 2026, when nearly all published files were made. Later versions treat a fused
query-key-value matrix as they treat values.

Files of IQ types are published with an importance matrix, which IQ1 and IQ2 cannot do without, and
are counted so; IQ4_XS and IQ4_NL made without one go by their `-static` names. Files of the other
types are counted as made without: with one, Q4_0 and Q5_0 alone differ, by 0.3 %.
"""

from collections.abc import Callable, Mapping

import msgspec

from rackfit.architecture.gguf.roles import Role

GROUPED = 4  # query heads to a KV head from which on the values are small
EIGHT_EXPERTS = 8
Q2, IQ2_XXS, IQ2_S, IQ3_XXS, IQ3_S = (
    f"ggml-{name}" for name in ("Q2_K", "IQ2_XXS", "IQ2_S", "IQ3_XXS", "IQ3_S")
)


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a tensor stands: the `number`-th of `count` of its role, in a model of this make.

    `group` is the number of query heads to a KV head; `large` tells a model llama.cpp calls 70B.
    """

    number: int
    count: int
    group: int
    experts: int
    large: bool = False


Choice = Callable[[Place], str | None]


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """One type of file: the default, what head and embedding get, and choices by role.

    The embedding is the head where the model has no other. `stacked` is the type of matrices that
    stand in a stack: routed experts and each head's projections of a latent row.
    """

    default: str
    head: str = "Q6_K"
    embedding: str | None = None
    stacked: str | None = None
    choices: Mapping[Role, Choice] = {}


def always(scheme: str) -> Choice:
    """Choose one type everywhere."""
    return lambda _: scheme


def first(scheme: str, share: int, then: str | None = None) -> Choice:
    """Choose a type in the first 1/`share` of the layers."""
    return lambda place: scheme if place.number < place.count // share else then


def eighth(scheme: str) -> Choice:
    """Choose a type in the first eighth of the layers."""
    return first(scheme, 8)


def earliest(scheme: str, number: int, then: str | None = None) -> Choice:
    """Choose a type in the first `number` layers."""
    return lambda place: scheme if place.number < number else then


def ends_and_thirds(scheme: str) -> Choice:
    """Choose a type in the first and last eighth and in every third layer between them."""

    def choice(place: Place) -> str | None:
        start = place.count // 8
        ends = place.number < start or place.number >= 7 * place.count // 8
        return scheme if ends or (place.number - start) % 3 == 2 else None  # noqa: PLR2004

    return choice


def middle(scheme: str) -> Choice:
    """Choose a type between the first and the last eighth."""
    return lambda p: scheme if p.count // 8 <= p.number < 7 * p.count // 8 else None


def grouped(scheme: str, then: str | None = None) -> Choice:
    """Choose a type for values that many query heads share."""
    return lambda place: scheme if place.group >= GROUPED else then


def by_experts(eight: str | None, otherwise: str | None) -> Choice:
    """Choose for models of eight experts (Mixtral), whose attention is a small part, and others."""
    return lambda place: eight if place.experts == EIGHT_EXPERTS else otherwise


def values(choice: Choice | None, default: str) -> Choice:
    """Add to a choice for values what holds in files of every type but the smallest.

    Eight experts leave room for Q8_0; in a model of 70 B, 3 and 4 bits become 5.
    """

    def wrapped(place: Place) -> str | None:
        if place.experts == EIGHT_EXPERTS:
            return "Q8_0"
        chosen = (choice and choice(place)) or default
        return "Q5_K" if place.large and chosen in ("Q3_K", "Q4_K") else chosen

    return wrapped


def _medium(  # noqa: PLR0913 - one argument a role
    default: str,
    *,
    value: Choice | None = None,
    down: Choice | None = None,
    output: Choice | None = None,
    fused: str | None = None,
    query: str | None = None,
    key: str | None = None,
    up: Choice | None = None,
    head: str = "Q6_K",
    embedding: str | None = None,
) -> Recipe:
    """Write down a recipe that follows the common rules for values and keys."""
    choices: dict[Role, Choice | None] = {
        "value": values(value, default),
        "key": by_experts("Q8_0", key),
        "query": always(query) if query else None,
        "output": output,
        "fused": always(fused) if fused else None,
        "down": down,
        "up": up,
    }
    kept = {role: choice for role, choice in choices.items() if choice is not None}
    return Recipe(default=default, head=head, embedding=embedding, choices=kept)


def _small(default: str, better: str, output: str | None, embedding: str = Q2) -> Recipe:
    """Write down a recipe of 1 or 2 bits: `better` where a mistake costs most."""
    return Recipe(
        default=default,
        head="Q5_K",
        embedding=embedding,
        choices={
            "value": lambda p: "Q4_K" if max(p.group, p.experts) >= GROUPED else better,
            "key": by_experts("Q4_K", None),
            "output": by_experts("Q5_K", output),
            "down": eighth(better),
        },
    )


EIGHT = by_experts("Q5_K", None)

RECIPES: Mapping[str, Recipe] = {
    **{plain: Recipe(default=plain, head=plain) for plain in ("f32", "bf16", "f16")},
    "Q4_0": _medium("Q4_0"),
    "Q4_1": _medium("Q4_1"),
    "Q5_0": _medium("Q5_0"),
    "Q5_1": _medium("Q5_1"),
    "Q8_0": _medium("Q8_0", head="Q8_0"),
    "Q2_K": _medium(
        Q2,
        value=grouped("Q4_K", "Q3_K"),
        down=always("Q3_K"),
        output=by_experts("Q5_K", "Q3_K"),
    ),
    "Q2_K_S": _medium(Q2, value=grouped("Q4_K"), down=eighth("Q4_K")),
    "Q3_K_S": _medium("Q3_K", output=EIGHT),
    "Q3_K_M": _medium(
        "Q3_K",
        value=earliest("Q5_K", 2, "Q4_K"),
        down=first("Q5_K", 16, "Q4_K"),
        output=by_experts("Q5_K", "Q4_K"),
        fused="Q4_K",
    ),
    "Q3_K_L": _medium(
        "Q3_K",
        value=always("Q5_K"),
        down=always("Q5_K"),
        output=by_experts(None, "Q5_K"),
        fused="Q4_K",
    ),
    "Q4_K_S": _medium("Q4_K", value=earliest("Q5_K", 4), down=eighth("Q5_K"), output=EIGHT),
    "Q4_K_M": _medium(
        "Q4_K",
        value=ends_and_thirds("Q6_K"),
        down=ends_and_thirds("Q6_K"),
        output=EIGHT,
        fused="Q5_K",
    ),
    "Q5_K_S": _medium("Q5_K"),
    "Q5_K_M": _medium(
        "Q5_K",
        value=ends_and_thirds("Q6_K"),
        down=ends_and_thirds("Q6_K"),
        fused="Q6_K",
    ),
    "Q6_K": _medium("Q6_K"),
    "IQ1_S": _small("ggml-IQ1_S", Q2, IQ2_XXS),
    "IQ1_M": _small("ggml-IQ1_M", Q2, IQ2_XXS),
    "IQ2_XXS": _small(IQ2_XXS, Q2, None),
    "IQ2_XS": _small("ggml-IQ2_XS", Q2, None),
    "IQ2_S": _small("ggml-IQ2_XS", IQ3_S, IQ3_S, embedding=IQ3_S),
    "IQ2_M": _small(IQ2_S, IQ3_S, IQ3_S, embedding=IQ3_S),
    "IQ3_XXS": _medium(
        IQ3_XXS,
        value=grouped("Q4_K"),
        output=by_experts("Q5_K", IQ3_S),
        query=IQ2_S,
        key=IQ2_S,
        head="Q5_K",
        embedding=IQ3_S,
    ),
    "IQ3_XS": _medium(
        IQ3_S,
        value=grouped("Q4_K"),
        output=EIGHT,
        query=IQ3_XXS,
        key=IQ3_XXS,
        up=middle(IQ3_XXS),
    ),
    "IQ3_S": _medium(IQ3_S, value=grouped("Q4_K"), output=EIGHT),
    "IQ3_M": _medium(
        IQ3_S,
        value=always("Q4_K"),
        down=lambda p: (ends_and_thirds if p.experts == EIGHT_EXPERTS else eighth)("Q4_K")(p),
        output=by_experts("Q5_K", "Q4_K"),
        fused="Q4_K",
    ),
    "IQ4_NL": _medium("ggml-IQ4_NL", value=grouped("Q5_K"), output=EIGHT),
    "IQ4_NL-static": _medium(
        "ggml-IQ4_NL", value=grouped("Q5_K"), down=eighth("Q5_K"), output=EIGHT
    ),
    "IQ4_XS": _medium("ggml-IQ4_XS", value=grouped("Q5_K"), output=EIGHT),
    "IQ4_XS-static": _medium(
        "ggml-IQ4_XS", value=grouped("Q5_K"), down=eighth("Q5_K"), output=EIGHT
    ),
    "TQ1_0": _medium("TQ1_0", embedding="Q4_K"),
    "TQ2_0": _medium("TQ2_0", embedding="Q4_K"),
    "MXFP4_MOE": Recipe(default="Q8_0", head="Q8_0", stacked="ggml-MXFP4"),
}
"""By the scheme's id; types in no recipe are stored as they are (`--pure`)."""

SMALLEST = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M"})
"""Files in which feed-forwards are counted as they come, and not by their layer."""
