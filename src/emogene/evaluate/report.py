"""Results as JSON, CSV and one self-contained HTML page that sorts, and reads well on a phone."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emogene.evaluate.statistics import Interval
from emogene.io.files import atomic_path

PAGE = Path(__file__).parent / "pages" / "report.html"


@dataclass(frozen=True)
class Column:
    """A metric as a table column: key, heading, whether higher is better (None: neither), and a note."""

    key: str
    heading: str
    higher_is_better: bool | None = None
    note: str = ""


@dataclass(frozen=True)
class Row:
    """A system's line in a table; kind is system, truth, chance, published or difference."""

    name: str
    values: dict[str, Interval | float]
    kind: str = "system"
    picture: bytes | None = None
    """JPEG or PNG bytes of a thumbnail."""
    video: bytes | None = None
    """mp4 bytes of a short sample."""


@dataclass(frozen=True)
class Table:
    """One table of a report."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    note: str = ""


@dataclass(frozen=True)
class Report:
    """Everything a protocol run found; ``about`` says the hardware, versions, commands and rules."""

    title: str
    tables: Sequence[Table]
    about: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write report.json, one CSV per table, and report.html into ``folder``."""
        _write(folder / "report.json", json.dumps(self._plain(), indent=2, ensure_ascii=False))
        for number, table in enumerate(self.tables, start=1):
            _write(folder / f"table-{number}.csv", _csv(table))
        _write(folder / "report.html", _page(self))

    def _plain(self) -> dict[str, Any]:
        tables = [
            {
                "title": table.title,
                "note": table.note,
                "rows": [
                    {"name": row.name, "kind": row.kind, **{k: _plain(v) for k, v in row.values.items()}}
                    for row in table.rows
                ],
            }
            for table in self.tables
        ]
        return {"title": self.title, "about": self.about, "tables": tables}


def text_table(table: Table) -> str:
    """The table for a terminal."""
    heads = ["", *[column.heading for column in table.columns]]
    body = [
        [row.name, *[_cell(row.values.get(c.key), row.kind) for c in table.columns]] for row in table.rows
    ]
    widths = [max(len(line[i]) for line in [heads, *body]) for i in range(len(heads))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in body]
    head = "  ".join(text.ljust(width) for text, width in zip(heads, widths, strict=True))
    return "\n".join([table.title, head, *lines, *([table.note] if table.note else [])]) + "\n"


def _plain(value: Interval | float) -> Any:
    """As JSON has it: no nan, and inf as a word."""
    if isinstance(value, Interval):
        return {
            "mean": _plain(value.mean),
            "low": _plain(value.low),
            "high": _plain(value.high),
            "n": value.n,
        }
    return None if math.isnan(value) else "inf" if math.isinf(value) else value


def _cell(value: Interval | float | None, kind: str = "system") -> str:
    if value is None:
        return "-"
    mean = value.mean if isinstance(value, Interval) else value
    if math.isnan(mean):
        return "-"
    if math.isinf(mean):
        return "inf"
    size = abs(mean)
    digits = 5 if 0 < size < 0.01 else 3 if size < 10 else 2 if size < 100 else 1
    if isinstance(value, Interval) and value.n > 1:
        clear = kind == "difference" and (value.low > 0 or value.high < 0)
        return f"{mean:.{digits}f}{'*' if clear else ''} [{value.low:.{digits}f}, {value.high:.{digits}f}]"
    return f"{mean:.{digits}f}"


def _csv(table: Table) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["system", "kind", *[column.key for column in table.columns]])
    for row in table.rows:
        cells: list[object] = [row.name, row.kind]
        for column in table.columns:
            value = row.values.get(column.key)
            cells.append("" if value is None else value.mean if isinstance(value, Interval) else value)
        writer.writerow(cells)
    return stream.getvalue()


def _page(report: Report) -> str:
    tables = "\n".join(_html_table(table) for table in report.tables)
    facts = "".join(
        f"<dt>{html.escape(str(key))}</dt><dd>{_fact(value)}</dd>" for key, value in report.about.items()
    )
    title = html.escape(report.title)
    page = PAGE.read_text()
    return page.replace("%TITLE%", title).replace("%TABLES%", tables).replace("%FACTS%", facts)


def _fact(value: Any) -> str:
    """A fact as html; a dict becomes lines."""
    if isinstance(value, dict):
        return "<br>".join(f"{html.escape(str(key))}: {_fact(entry)}" for key, entry in value.items()) or "-"
    return html.escape(str(value))


def _html_table(table: Table) -> str:
    heads = "".join(
        f'<th title="{html.escape(column.note)}" aria-sort="none"><button>{html.escape(column.heading)}'
        f"{ {True: ' ↑', False: ' ↓', None: ''}[column.higher_is_better] }</button></th>"
        for column in table.columns
    )
    best = {column.key: _best(table, column) for column in table.columns}
    lines = []
    for row in table.rows:
        cells = "".join(_html_cell(row, column, best[column.key]) for column in table.columns)
        name = f"<th>{_media(row)}<span>{html.escape(row.name)}</span></th>"
        lines.append(f'<tr class="{row.kind}">{name}{cells}</tr>')
    note = f"<p>{html.escape(table.note)}</p>" if table.note else ""
    return (
        f"<section><h2>{html.escape(table.title)}</h2>{note}<div class=scroll><table><thead><tr>"
        f"<th aria-sort=none><button>system</button></th>{heads}"
        f"</tr></thead><tbody>{''.join(lines)}</tbody></table></div></section>"
    )


def _html_cell(row: Row, column: Column, best: float | None) -> str:
    value = row.values.get(column.key)
    mean = value.mean if isinstance(value, Interval) else value
    mark = " class=best" if mean is not None and mean == best and row.kind == "system" else ""
    return f'<td{mark} data-v="{"" if mean is None else mean}">{_cell_html(_cell(value, row.kind))}</td>'


def _cell_html(text: str) -> str:
    """The mean, and its interval smaller below."""
    mean, bracket, interval = text.partition(" [")
    return html.escape(mean) + (f"<small>[{html.escape(interval)}</small>" if bracket else "")


def _media(row: Row) -> str:
    """A sample video with its thumbnail as poster, or the thumbnail alone."""
    picture = ""
    if row.picture is not None:
        picture = "data:image/jpeg;base64," + base64.b64encode(row.picture).decode()
    if row.video is not None:
        data = base64.b64encode(row.video).decode()
        poster = f' poster="{picture}"' if picture else ""
        source = f"data:video/mp4;base64,{data}"
        return f'<video tabindex=0 playsinline preload=none{poster} src="{source}"></video>'
    return f'<img alt="" src="{picture}">' if picture else ""


def _best(table: Table, column: Column) -> float | None:
    if column.higher_is_better is None:
        return None
    values = [row.values.get(column.key) for row in table.rows if row.kind == "system"]
    means = [value.mean if isinstance(value, Interval) else value for value in values if value is not None]
    means = [mean for mean in means if not math.isnan(mean)]
    return (max if column.higher_is_better else min)(means) if means else None


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text)
