"""Which layers the patterns of a spec name."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from ptaudit.errors import SpecError
from ptaudit.gradients.layers import LayerInfo
from ptaudit.spec.model import Spec
from ptaudit.views import View


def audited(spec: Spec, layer: str) -> bool:
    """Whether the layer is among `audit.layers`."""
    return spec.audit.layers == "all" or _matches(layer, spec.audit.layers)


def shared(view: View, layer: str) -> bool:
    """Whether the view shares the layer's gradient."""
    return not view.layers or _matches(layer, view.layers)


def _matches(layer: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(layer, pattern) for pattern in patterns)


def check_patterns(spec: Spec, layers: Sequence[LayerInfo]) -> None:
    """Every layer pattern of views and gates matches a layer, before anything is trained.

    Raises:
        SpecError: for one that does not.
    """
    names = [layer.name for layer in layers if audited(spec, layer.name)]
    for view in spec.audit.views:
        for pattern in view.layers or ():
            if not _any(names, [pattern]):
                raise SpecError(f"`{pattern}` matches no layer", where=f"view {view.name}", remedy=_there_are(names))
    by_name = {view.name: View.of(view) for view in spec.audit.views}
    for gate in spec.gates:
        seen = [n for n in names if gate.view not in by_name or shared(by_name[gate.view], n)]
        if gate.over not in ("layers", "joint", "all") and not _any(seen, [gate.over]):
            raise SpecError(f"`{gate.over}` matches no layer", where=f"gate {gate.id}", remedy=_there_are(seen))


def _any(names: Sequence[str], patterns: Sequence[str]) -> bool:
    return any(_matches(name, patterns) for name in names)


def _there_are(names: Sequence[str]) -> str:
    return f"there are: {', '.join(names)}"
