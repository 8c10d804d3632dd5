"""The HTTP edge: one file per resource, and the one way every request takes.

Resources (`models`, `memory`, `plans`, `inventories`, `accelerators`, `quantizations`, `version`,
`health`) declare `Operation` values, listed in `operations`; `answers` holds the structs that are
theirs alone. Routes, the contract and its tests are derived from that list.

A request passes `edge` (id, metrics, log), `routing` (Litestar), `pipeline` (headers), `body` (its
`room`), `negotiation`, `answering` (cache, single flight), `computing` (`decoding`, `queries`,
`violations`, `representation`), here or through `pool` in a `worker`, and comes back as an answer
or, by way of `refusing`, as one of `problems`. `hanging_up` and `closing` end it early: its caller
is gone, or the process is going.
"""
