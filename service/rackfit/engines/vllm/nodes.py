"""How vLLM is started on several nodes: which node holds which data ranks.

Where every node holds whole data ranks, each starts its own and they meet at the first one's
address. Where a data rank spans nodes, these are one group of processes. Source: vLLM
vllm/engine/arg_utils.py (ParallelConfig), documentation: Data Parallel Deployment, LWS.
"""

from collections.abc import Iterator, Sequence

from rackfit.engines.launch import Host, flags, master_port
from rackfit.engines.split import Split

RPC_PORT = 1
"""Where data ranks find their coordinator, from the replica's master port on."""


def starts_on(split: Split, hosts: Sequence[Host]) -> bool:
    """Whether `hosts` hold whole data ranks each, or are alike and as many in each data rank."""
    alike = len({len(host.devices) for host in hosts}) == 1
    return _whole(split, hosts) or (alike and len(hosts) % split.data == 0)


def node_arguments(split: Split, hosts: Sequence[Host], number: int, place: int) -> tuple[str, ...]:
    """Arguments of one node of a replica over several `hosts`; nothing on one."""
    if len(hosts) == 1:
        return ()
    whole = _whole(split, hosts)
    parts = (_own_ranks if whole else _shared_ranks)(split, hosts, number, master_port(place))
    return (*parts, *(("--headless",) if number else ()))


def _whole(split: Split, hosts: Sequence[Host]) -> bool:
    return all(len(host.devices) % _group(split) == 0 for host in hosts)


def _group(split: Split) -> int:
    """Devices of a data rank."""
    return split.tensor * split.pipeline * split.context


def _own_ranks(split: Split, hosts: Sequence[Host], number: int, port: int) -> Iterator[str]:
    """Each node holds as many data ranks as its devices make."""
    group = _group(split)
    held = [len(host.devices) // group for host in hosts]
    yield from flags(
        data_parallel_size_local=held[number],
        data_parallel_start_rank=sum(held[:number]) if number else None,
        data_parallel_address=hosts[0].name,
        data_parallel_rpc_port=port + RPC_PORT,
    )


def _shared_ranks(split: Split, hosts: Sequence[Host], number: int, port: int) -> Iterator[str]:
    """Nodes share a data rank: one group of processes, or one a data rank."""
    yield from flags(
        nnodes=len(hosts), node_rank=number, master_addr=hosts[0].name, master_port=port
    )
    if split.data > 1:
        yield from flags(
            data_parallel_address=hosts[0].name, data_parallel_rpc_port=port + RPC_PORT
        )
