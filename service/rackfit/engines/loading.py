"""What of a model an engine can load, and keep its cache as."""

from collections.abc import Iterator
from typing import ClassVar

from rackfit.engines.rejection import Rejection
from rackfit.engines.rules import reject
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split

PLAIN_SCHEMES = ("f32", "bf16", "f16")


class Loading:
    """The part of an engine that says what it can hold at all, whatever the split."""

    name: ClassVar[str]
    kv_cache_dtypes: ClassVar[tuple[str, ...]] = (
        "bf16", "f16", "f32", "fp8", "int8", "q8_0", "q4_0", "nvfp4",
    )  # fmt: skip

    def unloadable(self, model: ServedModel, split: Split) -> Iterator[Rejection]:
        """Yield what of a model cannot be loaded, whatever the split."""
        for scheme in model.used_schemes:
            if not self.loads(scheme.id, scheme.engines):
                detail = f"{self.name} cannot load weights stored as {scheme.name}."
                source = "; ".join(scheme.sources)
                yield reject(split, "scheme-unsupported", detail, source)
        if not self.keeps(model):
            kept = [dtype for dtype in self.kv_cache_dtypes if self.keeps(model.caching(dtype))]
            detail = (
                f"{self.name} cannot keep its KV cache as {model.kv_cache_dtype}; it can as "
                f"{', '.join(kept)}."
            )
            yield reject(split, "kv-dtype-unsupported", detail, f"{self.name} documentation")

    def keeps(self, model: ServedModel) -> bool:
        """Tell whether the cache can be of the type asked for, and the engine be told so."""
        return model.kv_cache_dtype in self.kv_cache_dtypes

    def loads(self, scheme: str, engines: list[str]) -> bool:
        """Tell whether this engine loads a scheme."""
        return scheme in PLAIN_SCHEMES or self.name in engines
