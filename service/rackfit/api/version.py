"""`/v1/version`: what is running."""

from collections.abc import Mapping

from rackfit import __version__
from rackfit.api.answers import Version
from rackfit.api.operation import Context, Operation
from rackfit.api.text import service as text
from rackfit.silicon.package import VERSION as KERNEL_TABLES


def get_version(context: Context, _path: Mapping[str, str], _query: None, _body: None) -> Version:
    """Tell what is running."""
    return Version(
        version=__version__,
        catalog_digest=context.catalog.digest,
        catalog_date=context.catalog.date,
        kernel_tables=KERNEL_TABLES,
    )


GET_VERSION = Operation(
    id="get_version",
    method="GET",
    path="/v1/version",
    tag="service",
    summary="Service version, catalog digest and date",
    description="The same versions and digest give the same answers, to the byte.",
    run=get_version,
    answer=Version,
    text=text.version,
)
OPERATIONS = (GET_VERSION,)
