"""Every example row of docs/data.md is read without a fault, and its fault kinds are those that readers say."""

from __future__ import annotations

import json
import re
from pathlib import Path

from sensorium.data.fault import Fault
from sensorium.data.reader import DIALECTS, Row, open_source
from tests.data import dialects

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "data.md").read_text("utf-8")


def test_example_rows_are_read(tmp_path: Path) -> None:
    rows = [json.loads(line) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
    found = list(open_source(dialects.lines(tmp_path / "rows.jsonl", rows)).rows())
    assert len(found) == 14 and all(isinstance(row, Row) for row in found), found
    said = [row.sample.messages[-1].parts[0] for row in found if isinstance(row, Row)]
    assert {getattr(part, "text", "") for part in said} == {"A cat.", "A dog.", "Hello.", "Fine.", "[10, 20, 30, 40]"}


def test_every_dialect_and_every_kind_of_fault_is_there() -> None:
    table = PAGE.partition("## Dialects")[2].partition("###")[0]
    assert {name for name in DIALECTS if f"| `{name}` |" in table} == set(DIALECTS)
    named = set(re.findall(r"`([a-z-]+)`", PAGE.partition("| kind |")[2].partition("\n\n")[0])) - {"prepare"}
    sources = [path.read_text("utf-8") for path in (ROOT / "src/sensorium/data").glob("*.py")]
    said = {
        kind
        for text in sources
        for kind in re.findall(r'RowError\(\s*[^"\n]*(?:"[^"]*"|[^,"]+),\s*"([a-z]+(?:-[a-z]+)+|truncated)"', text)
    }
    assert said and said <= named
    listed = set(re.findall(r"`([a-z-]+)`", (Fault.__doc__ or "").partition("kind:")[2].partition("reason:")[0]))
    assert listed == named
