"""The contract: an OpenAPI 3.1 document made of the operations, their structs and examples.

`python -m rackfit.api.openapi PATH` writes it; `document.build` is where to begin reading.
"""
