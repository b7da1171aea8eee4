import csv
import json
from html.parser import HTMLParser
from pathlib import Path

from emogene.evaluate.report import Column, Report, Row, Table, text_table
from emogene.evaluate.statistics import Interval


def table() -> Table:
    columns = [Column("psnr", "PSNR", True), Column("lmd", "M-LMD", False)]
    rows = [
        Row("ours <b>", {"psnr": Interval(30.2, 29.0, 31.0, 5), "lmd": 1.5}),
        Row("theirs", {"psnr": 28.0}),
        Row("ground truth", {"psnr": float("inf"), "lmd": 0.0}, kind="truth"),
    ]
    return Table("Reconstruction", columns, rows, note="own data")


def test_files_agree_with_each_other(tmp_path: Path) -> None:
    Report("Run", [table()], {"machine": "2 cores"}).write(tmp_path)
    plain = json.loads((tmp_path / "report.json").read_text())
    assert plain["tables"][0]["rows"][0]["psnr"]["mean"] == 30.2
    rows = list(csv.DictReader((tmp_path / "table-1.csv").open()))
    assert rows[0]["psnr"] == "30.2" and rows[1]["lmd"] == ""
    page = (tmp_path / "report.html").read_text()
    assert "ours &lt;b&gt;" in page and "<td class=best" in page and "http" not in page


def test_text_table_lines_up() -> None:
    lines = text_table(table()).splitlines()
    assert lines[0] == "Reconstruction" and "30.20 [29.00, 31.00]" in lines[2]
    assert len({line.index("1.500") for line in lines if "1.500" in line}) == 1


class Page(HTMLParser):
    """Checks nesting and gathers what a browser would show."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[int] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append(0)
        if tag in ("th", "td"):
            self.rows[-1] += 1
        if tag not in ("meta", "img", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_no_network(tmp_path: Path) -> None:
    shown = Row("with sample", {"psnr": 29.0}, picture=b"jpeg", video=b"mp4")
    small = Table(
        "Idle", [Column("v", "Vel. avg", False)], [Row("ours", {"v": Interval(0.0025, 0.002, 0.003, 3)})]
    )
    table_ = table()
    whole = Table(table_.title, table_.columns, [*table_.rows, shown], table_.note)
    Report("Run", [whole, small], {"machine": {"cpu": "x", "cores": 2}}).write(tmp_path)
    page = Page()
    page.feed((tmp_path / "report.html").read_text())
    assert page.open == ["html"] or page.open == []
    assert page.rows == [3, 3, 3, 3, 3, 2, 2]
    sources = [
        value for _, given in page.seen for name, value in given.items() if name in ("src", "href", "poster")
    ]
    assert sources and all(value and value.startswith("data:") for value in sources)
    video = next(given for tag, given in page.seen if tag == "video")
    assert video["tabindex"] == "0" and video["preload"] == "none"
    assert any(tag == "meta" and given.get("name") == "viewport" for tag, given in page.seen)
    assert "0.00250" in text_table(small)
