"""Building the kernels: names by content, no compiler, sanitizers."""

import subprocess
from pathlib import Path

import pytest

from emogene.render.native import binding, build

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1", "-g", "-DEG_AMX_EMULATED")


def needs_compiler() -> list[str]:
    compiler = build.find_compiler()
    if compiler is None:
        pytest.skip("no C++ compiler")
    return compiler


def test_name_follows_flags():
    assert build.library_name() == build.library_name()
    assert build.library_name() != build.library_name(("-DX",))


def test_without_compiler_there_is_no_library(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "find_compiler", lambda: None)
    assert build.compile_library(tmp_path) is None


def test_broken_compiler_is_survived(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(build, "find_compiler", lambda: ["false"])
    assert build.compile_library(tmp_path) is None
    assert "could not compile" in caplog.text


def test_library_is_found_and_loads():
    needs_compiler()
    kernels = binding.load()
    assert kernels is not None
    assert "portable" in kernels.supported


@pytest.mark.slow
def test_kernels_are_clean_under_sanitizers(tmp_path):
    compiler = needs_compiler()
    objects = []
    driver = Path(__file__).with_name("native_driver.cpp")
    for source, flags in {**build.units(), str(driver): ()}.items():
        target = tmp_path / f"{Path(source).name}.o"
        command = [*compiler, *build.COMMON_FLAGS, *flags, *SANITIZERS, f"-I{build.SOURCE_DIR}"]
        subprocess.run([*command, "-c", str(build.SOURCE_DIR / source), "-o", str(target)], check=True)
        objects.append(str(target))
    program = tmp_path / "driver"
    link = [*compiler, *SANITIZERS, *objects, "-o", str(program), "-pthread"]
    linked = subprocess.run(link, capture_output=True, text=True, check=False)
    if linked.returncode != 0:
        pytest.skip(f"this compiler has no sanitizers: {linked.stderr[:200]}")
    result = subprocess.run([str(program)], capture_output=True, text=True, check=False, timeout=280)
    assert result.returncode == 0, result.stdout + result.stderr[-4000:]
    assert "instruction sets" in result.stdout
