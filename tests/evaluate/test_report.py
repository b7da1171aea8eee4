import csv
import json
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
