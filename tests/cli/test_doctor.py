"""`emogene doctor` and `emogene bench` on this machine."""

import json

import pytest

from emogene.cli import bench, doctor


def test_doctor_names_the_vital_parts(capsys, monkeypatch):
    monkeypatch.delenv("EMOGENE_ISA", raising=False)
    doctor.doctor()
    shown = capsys.readouterr().out
    for subject in ("python", "torch", "render kernels", "compiler", "media (PyAV)", "parts here"):
        assert subject in shown


def test_doctor_turns_a_broken_check_into_a_finding():
    def _weights() -> list[doctor.Row]:
        raise OSError("disk on fire")

    assert doctor._guarded(_weights) == [("missing", "weights", "OSError: disk on fire")]


@pytest.mark.slow
def test_bench_train_writes_json(capsys, tmp_path):
    bench.train(rays=256, rounds=1, threads=1, json=True, out=tmp_path / "speed.json")
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "speed.json").read_text())
    assert printed["training"]["torch_cpu_ms"] > 0
    assert printed["machine"]["cpu"]
