"""ggml's types of tensors by their number in a file, as ids of the catalog's schemes.

Source: gguf 0.19.0, constants.py, GGMLQuantizationType; block sizes are the schemes' own.
"""

from collections.abc import Mapping

TYPES: Mapping[int, str] = {
    0: "f32",
    1: "f16",
    2: "Q4_0",
    3: "Q4_1",
    6: "Q5_0",
    7: "Q5_1",
    8: "Q8_0",
    9: "Q8_1",
    10: "ggml-Q2_K",
    11: "Q3_K",
    12: "Q4_K",
    13: "Q5_K",
    14: "Q6_K",
    15: "Q8_K",
    16: "ggml-IQ2_XXS",
    17: "ggml-IQ2_XS",
    18: "ggml-IQ3_XXS",
    19: "ggml-IQ1_S",
    20: "ggml-IQ4_NL",
    21: "ggml-IQ3_S",
    22: "ggml-IQ2_S",
    23: "ggml-IQ4_XS",
    24: "i8",
    25: "i16",
    26: "i32",
    27: "i64",
    28: "f64",
    29: "ggml-IQ1_M",
    30: "bf16",
    34: "TQ1_0",
    35: "TQ2_0",
    39: "ggml-MXFP4",
    40: "ggml-NVFP4",
    41: "Q1_0",
}
"""Every type a header may name; the numbers between them were retired."""

LARGE_BLOCK = 256
SMALL_BLOCK = 32

FALLBACKS: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "ggml-IQ1_S",
            "ggml-IQ1_M",
            "ggml-IQ2_XXS",
            "ggml-IQ2_XS",
            "ggml-IQ2_S",
            "ggml-IQ3_XXS",
            "ggml-IQ3_S",
            "ggml-IQ4_XS",
        ),
        "ggml-IQ4_NL",
    ),
    **dict.fromkeys(("ggml-Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
"""Types in blocks of 256, each with the one in blocks of 32 that stands in for it.

Source: llama.cpp, src/llama-quant.cpp, tensor_type_fallback.
"""


def fitting(scheme: str, columns: int) -> str:
    """Return the type a row of `columns` is stored in where `scheme` was meant for it."""
    if columns % LARGE_BLOCK and scheme in FALLBACKS:
        scheme = FALLBACKS[scheme]
    if columns % SMALL_BLOCK and scheme not in ("f32", "f16", "bf16"):
        return "f16"
    return scheme
