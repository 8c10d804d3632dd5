"""What a PromQL expression asks for and what it returns, checked against what is exported."""

from collections.abc import Iterator, Mapping

import promql_parser as ast
from prometheus_client import PLATFORM_COLLECTOR, PROCESS_COLLECTOR, Counter, Gauge, Histogram

from rackfit import metrics

Labels = frozenset[str]

# Prometheus adds these two to every series it scrapes.
TARGET_LABELS: Labels = frozenset({"job", "instance"})
_SUFFIXES = {Counter: ("",), Gauge: ("",), Histogram: ("_bucket", "_sum", "_count")}
_SET_OPERATORS = ("and", "or", "unless")


def exported() -> dict[str, Labels]:
    """Labels by name of every series a scrape of Rackfit brings into Prometheus."""
    return dict(_exported())


def recorded(rules: Mapping[str, str], known: Mapping[str, Labels]) -> dict[str, Labels]:
    """Labels by name of what recording `rules` (name to expression, in order) write."""
    labels = dict(known)
    for name, expression in rules.items():
        labels[name] = result_labels(ast.parse(expression), labels)
    return {name: labels[name] for name in rules}


def complaints(expression: str, known: Mapping[str, Labels]) -> list[str]:
    """Name every metric and label in `expression` that does not exist.

    Raises:
        ValueError: `expression` is not PromQL.
    """
    nodes: list[ast.Expr] = []
    ast.walk(ast.parse(expression), nodes.append)
    return [complaint for node in nodes for complaint in _complaints(node, known)]


def result_labels(node: ast.Expr, known: Mapping[str, Labels]) -> Labels:
    """Labels that series returned by `node` can carry; none for a scalar."""
    match node:
        case ast.VectorSelector() | ast.MatrixSelector():
            return known[_metric(node)]
        case ast.AggregateExpr():
            return _aggregated(node, known)
        case ast.BinaryExpr():
            return _joined(node, known)
        case ast.Call():
            return _called(node, known)
        case ast.ParenExpr() | ast.SubqueryExpr() | ast.UnaryExpr():
            return result_labels(node.expr, known)
    return frozenset()


def threshold(expression: str) -> float:
    """Return the number that the first comparison `… > number` in `expression` is made with."""
    found: list[float] = []

    def visit(node: ast.Expr) -> None:
        if isinstance(node, ast.BinaryExpr) and str(node.op) == ">":
            found.extend([node.rhs.val] if isinstance(node.rhs, ast.NumberLiteral) else [])

    ast.walk(ast.parse(expression), visit)
    return found[0]


def _metric(node: ast.VectorSelector | ast.MatrixSelector) -> str:
    selector = node if isinstance(node, ast.VectorSelector) else node.vector_selector
    return str(selector.name)


def _exported() -> Iterator[tuple[str, Labels]]:
    yield "up", TARGET_LABELS
    for metric in vars(metrics).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            yield from _series(metric)
    for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR):
        for family in collector.collect():
            for sample in family.samples:
                yield sample.name, TARGET_LABELS | sample.labels.keys()


def _series(metric: Counter | Gauge | Histogram) -> Iterator[tuple[str, Labels]]:
    [family] = metric.describe()
    labels = TARGET_LABELS | set(metric._labelnames)  # noqa: SLF001 - published by no accessor
    name = family.name + ("_total" if isinstance(metric, Counter) else "")
    for suffix in _SUFFIXES[type(metric)]:
        yield name + suffix, labels | {"le"} if suffix == "_bucket" else labels


def _complaints(node: ast.Expr, known: Mapping[str, Labels]) -> Iterator[str]:
    match node:
        case ast.VectorSelector() if _metric(node) not in known:
            yield f"no metric {node.name}"
        case ast.VectorSelector():
            used = {matcher.name for matcher in node.matchers.matchers}
            yield from (f"{node.name} has no {label}" for label in used - known[_metric(node)])
        case ast.AggregateExpr() if node.modifier is not None:
            missing = set(node.modifier.labels) - _labels_or_all(node.expr, known)
            yield from (f"nothing below has {label} to aggregate by" for label in missing)
        case ast.BinaryExpr() if node.modifier is not None and node.modifier.matching is not None:
            both = _labels_or_all(node.lhs, known) & _labels_or_all(node.rhs, known)
            missing = set(node.modifier.matching.labels) - both
            yield from (f"not both sides have {label} to match on" for label in missing)


def _labels_or_all(node: ast.Expr, known: Mapping[str, Labels]) -> Labels:
    """Labels of `node`; of an unknown metric, about which another complaint tells, every label."""
    try:
        return result_labels(node, known)
    except KeyError:
        return frozenset().union(*known.values())


def _aggregated(node: ast.AggregateExpr, known: Mapping[str, Labels]) -> Labels:
    if node.modifier is None:
        return frozenset()
    if node.modifier.type == ast.AggModifierType.By:
        return frozenset(node.modifier.labels)
    return result_labels(node.expr, known) - set(node.modifier.labels)


def _called(node: ast.Call, known: Mapping[str, Labels]) -> Labels:
    labels = frozenset[str]().union(*(result_labels(argument, known) for argument in node.args))
    return labels - {"le"} if node.func.name == "histogram_quantile" else labels


def _joined(node: ast.BinaryExpr, known: Mapping[str, Labels]) -> Labels:
    left = result_labels(node.lhs, known) or result_labels(node.rhs, known)
    modifier = node.modifier
    if modifier is None or modifier.matching is None or str(node.op) in _SET_OPERATORS:
        return left
    if modifier.card == ast.VectorMatchCardinality.OneToOne:
        return frozenset(modifier.matching.labels)
    return left
