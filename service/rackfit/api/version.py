"""`/v1/version`: what is running."""

from collections.abc import Mapping

from rackfit import __version__
from rackfit.api.answers import Version
from rackfit.api.operation import Context, Operation
from rackfit.api.text import service as text


def get_version(context: Context, _path: Mapping[str, str], _query: None, _body: None) -> Version:
    """Tell what is running."""
    return Version(
        version=__version__,
        catalog_digest=context.catalog.digest,
        catalog_date=context.catalog.date,
    )


GET_VERSION = Operation(
    id="get_version",
    method="GET",
    path="/v1/version",
    tag="service",
    summary="Service version, catalog digest and date",
    description="The same version and digest give the same answers, to the byte.",
    run=get_version,
    answer=Version,
    text=text.version,
)
OPERATIONS = (GET_VERSION,)
