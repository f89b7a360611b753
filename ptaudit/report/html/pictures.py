"""Charts as inline SVG, and pictures of records where they were kept."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from markupsafe import Markup

from ptaudit import escape
from ptaudit.report.html.elements import Picture
from ptaudit.tables.folder import REBUILT

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

    from ptaudit.tables.run import Run

_NAMESPACE = re.compile(r"\{[^}]*\}")
_IDS = re.compile(r"url\(#([^)]+)\)")
_EPOCH = re.compile(r"epoch-(\d+)")
PICTURED = "A row a record: as it was, as it was rebuilt, what would be guessed without a gradient."
_MOST_PICTURES, _MOST_BYTES = 12, 1_500_000


def drawn(run: Run, records: pd.DataFrame) -> dict[str, Picture]:
    """The pictures of `plots` that the run has something for, by name; the library is loaded only if there is one.

    Args:
        run: the tables.
        records: scores of single records as in `samples.csv`; empty where they were not kept.
    """
    if not (run.defenses or "reference_models" in run.manifest or len(records)):
        return {}
    from ptaudit.plots import PLOTS

    charts = {name: chart for name, plot in PLOTS.items() if (chart := plot(run, records)) is not None}
    return {name: _picture(name, chart) for name, chart in charts.items()}


def _picture(name: str, chart: alt.TopLevelMixin) -> Picture:
    """The title and the caption are those of the page, in its own letters; the rest is the library's drawing."""
    import vl_convert

    spec = chart.to_dict()
    told = spec.pop("title")
    svg = inline(vl_convert.vegalite_to_svg({**spec, "background": "transparent"}), name, told["text"])
    return Picture(told["text"], " ".join(told.get("subtitle", ())), svg=svg)


def inline(text: str, name: str, title: str) -> Markup:
    """An SVG as part of a page: what is said of a mark is shown when it is pointed at, no name is used twice, nothing
    is named that lies elsewhere.

    Args:
        text: the document as `vl_convert` draws it.
        name: of the picture, in front of all names inside it.
        title: what it shows, for those who hear the page.
    """
    shown = "".join(c if c.isprintable() or c == "\n" else escape.html(c) for c in text)
    root = ElementTree.fromstring(shown)
    for node in root.iter():
        node.tag = _NAMESPACE.sub("", node.tag)
        for key, value in list(node.attrib.items()):
            if key.startswith("{"):  # links to elsewhere
                del node.attrib[key]
            elif key == "id":
                node.set(key, f"{name}-{value}")
            elif "url(#" in value:
                node.set(key, _IDS.sub(rf"url(#{name}-\1)", value))
        said = node.get("aria-label")
        if (
            said
            and node.get("role") == "graphics-symbol"
            and node.get("aria-roledescription") not in ("axis", "legend")
        ):
            hint = ElementTree.Element("title")
            hint.text = said
            node.insert(0, hint)
    root.attrib.pop("class", None)
    root.set("role", "img")
    root.set("aria-label", escape.html(title))
    root.set("style", f"min-width:min(100%, {int(float(root.get('width', '600')) * 0.8)}px)")
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def kept_pictures(folder: Path | None) -> tuple[Picture, ...]:
    """Records beside what was rebuilt of them, where a run kept them: the last epochs first."""
    files = sorted((folder / REBUILT).glob("*.png"), key=_in_order) if folder is not None else []
    found, size = [], 0
    for path in files[:_MOST_PICTURES]:
        content = path.read_bytes()
        size += len(content)
        if size <= _MOST_BYTES:
            png = f"data:image/png;base64,{base64.b64encode(content).decode()}"
            found.append(Picture(path.stem.replace("-", " ", 4), PICTURED, png=png))
    return tuple(found)


def _in_order(path: Path) -> tuple[int, str]:
    """The last epoch first; by name within it."""
    epoch = _EPOCH.search(path.stem)
    return -int(epoch[1]) if epoch else 0, path.stem
