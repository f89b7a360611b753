"""Pages of docs/ whose tables are filled by the benchmarks."""

from __future__ import annotations

import re
from pathlib import Path


def fill(page: Path, mark: str, text: str) -> None:
    """Replace what stands between `<!-- mark -->` and `<!-- /mark -->`."""
    block = f"<!-- {mark} -->\n{text}\n<!-- /{mark} -->"
    content = page.read_text(encoding="utf-8")
    filled, found = re.subn(rf"<!-- {mark} -->.*?<!-- /{mark} -->", lambda _: block, content, flags=re.DOTALL)
    if found != 1:
        raise SystemExit(f"{page}: {found} places marked {mark}, not one")
    page.write_text(filled, encoding="utf-8")
