"""llama.cpp: whole layers on each device, GGUF weights."""

import re
from typing import ClassVar

from rackfit.engines.hardware import Hardware
from rackfit.engines.interface import Engine
from rackfit.engines.launch import Launched, flags
from rackfit.engines.rejection import Rejection
from rackfit.engines.rules import WHOLE_SEQUENCES, Rule, reject
from rackfit.engines.served import ServedModel
from rackfit.engines.split import Split
from rackfit.engines.start import Start
from rackfit.engines.terms import Limits, Term
from rackfit.engines.version import Version, read_version, shown

MIB = 1 << 20
FIT_MARGIN_BYTES = 1024 * MIB  # common/arg.cpp --fit-target: kept free on each device
F32_BYTES = 4

BUILD = re.compile(r"\s*b?\d{1,6}\s*", flags=re.ASCII)
"""A build, by its tag or as `llama-server --version` prints it: all there was before 0.1."""


def layers_only(_model: ServedModel, split: Split) -> Rejection | None:
    """Devices take whole layers; nothing is divided within a layer."""
    if split.tensor * split.data * split.expert == 1:
        return None
    return reject(
        split,
        "degree-unsupported",
        "llama.cpp is planned with --split-mode layer: pipeline stages alone.",
        "llama.cpp --split-mode layer",
        tensor=split.tensor,
        data=split.data,
        expert=split.expert,
    )


class LlamaCpp(Engine):
    """llama.cpp's server with its layers on several devices."""

    name: ClassVar[str] = "llama.cpp"
    current: ClassVar[Version] = (0, 5)
    known: ClassVar[tuple[Version, Version]] = ((0, 1), (0, 5))
    reads_gguf: ClassVar[bool] = True
    hardware: ClassVar[Hardware] = Hardware(source="llama.cpp: CUDA, HIP, Vulkan back ends")
    takes_utilization: ClassVar[bool] = False
    disaggregates: ClassVar[bool] = False
    rules: ClassVar[tuple[Rule, ...]] = (layers_only, *WHOLE_SEQUENCES)
    kv_cache_dtypes: ClassVar[tuple[str, ...]] = ("f16", "bf16", "f32", "q8_0", "q4_0")
    batched_tokens: ClassVar[int] = 512  # common.h n_ubatch

    def read(self, version: str | None) -> Version:
        """Builds too; none of them is known to differ from the current version in memory."""
        if version is not None and BUILD.fullmatch(version):
            return self.current
        return read_version(version, self.current, also=" (or a build, as in b4567)")

    def warnings(self) -> tuple[str, ...]:
        """Say which rules builds are planned for by."""
        build = self.choice.version
        if build is None or not BUILD.fullmatch(build):
            return super().warnings()
        return (f"llama.cpp's builds are planned for by the rules of {shown(self.current)}.",)

    def activation_terms(
        self, model: ServedModel, split: Split, limits: Limits, *, first: bool, last: bool
    ) -> tuple[Term, ...]:
        """The compute buffer: f32 logits and states of one micro-batch."""
        del split, first
        width = 4 * model.architecture.hidden_size
        logits = model.architecture.vocabulary_size if last else 0
        size = limits.batched_tokens * (width + logits) * F32_BYTES
        return (Term("compute buffer", size, 0.3, "llama.cpp graph_reserve of one micro-batch"),)

    def utilization(self, start: Start, free: int) -> float:
        """All but the margin that llama.cpp keeps when it fits a model to a device."""
        usable = start.usable
        return max(min(usable, free) - FIT_MARGIN_BYTES, 0) / usable

    def program(self, model: str) -> tuple[str, ...]:
        """`llama-server`."""
        return ("llama-server", f"--model={model}")

    def arguments(self, launched: Launched) -> tuple[str, ...]:
        """Arguments of `llama-server`; its context is that of all slots together."""
        split, dtype = launched.split, launched.model.kv_cache_dtype
        layers = self.partition(len(launched.model.order), split.pipeline)
        return flags(
            n_gpu_layers=999,
            split_mode="layer",
            tensor_split=",".join(str(count) for count in layers),
            ctx_size=launched.context_tokens * launched.sequences,
            parallel=launched.sequences,
            cache_type_k=dtype,
            cache_type_v=dtype,
        )
