"""Models, accelerators and quantization schemes as data."""

from rackfit.catalog.load import Catalog, load_catalog

__all__ = ["Catalog", "load_catalog"]
