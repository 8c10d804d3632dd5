"""Kernel times that NVIDIA measured on the silicon, where its package is installed.

`pip install rackfit[silicon]` brings aiconfigurator-core. Without it nothing here is used.
"""

from rackfit.silicon.package import VERSION
from rackfit.silicon.tables import SiliconTables, tables_for

__all__ = ["VERSION", "SiliconTables", "tables_for"]
