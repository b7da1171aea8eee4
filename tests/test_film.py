"""From audio file to mp4 with a tiny avatar; and every way a user can get it wrong, in one sentence each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emogene.cli import main
from emogene.errors import MediaError, UserError
from emogene.film import Film, film
from emogene.io.audio import read_audio, write_wav
from emogene.io.images import write_rgb
from emogene.io.video import probe_video, read_video
from emogene.types import Audio
from tests import tiny_avatar


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("avatars") / "tiny"
    tiny_avatar.make(path)
    return path


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    t = np.arange(16000) / 16000
    path = tmp_path / "speech.wav"
    write_wav(path, Audio((0.3 * np.sin(2 * np.pi * 200 * t)).astype(np.float32)))
    return path


def order(folder: Path, sound: Path, **changes: Any) -> Film:
    fields = {"audio": sound, "output": sound.with_name("out.mp4"), "avatar": str(folder)}
    return Film(**{**fields, "features": "mel", "size": 64, **changes})


def test_a_film_is_as_long_as_its_sound(folder: Path, sound: Path) -> None:
    report = film(order(folder, sound, emotion="happy:0.7"))
    info = probe_video(Path(report["output"]))
    assert (info.width, info.height, info.fps) == (64, 64, 25) and info.has_audio
    assert report["frames"] == 25 and len(list(read_video(sound.with_name("out.mp4"))[1])) == 25
    assert read_audio(sound.with_name("out.mp4")).duration_s == pytest.approx(1.0, abs=0.04)
    assert {"load", "features", "motion", "render", "encode", "total"} <= set(report["seconds"])


def test_same_seed_same_file(folder: Path, sound: Path) -> None:
    first = film(order(folder, sound, seed=3))
    content = Path(first["output"]).read_bytes()
    film(order(folder, sound, seed=3))
    assert Path(first["output"]).read_bytes() == content


def test_backgrounds(folder: Path, sound: Path, tmp_path: Path) -> None:
    def first(background: str) -> np.ndarray:
        film(order(folder, sound, background=background))
        return next(read_video(sound.with_name("out.mp4"))[1])[1].astype(int)

    green = first("#00ff00")
    write_rgb(tmp_path / "wall.png", np.full((30, 30, 3), 10, np.uint8))
    dark = first(str(tmp_path / "wall.png"))
    # An untrained torso lets the background through in part, everywhere.
    assert (green[..., 1] - dark[..., 1]).mean() > 60
    assert (green[..., 0] - dark[..., 0]).mean() < 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"intensity": 2.0}, "--intensity must lie between 0 and 1.5"),
        ({"mouth": -1.0}, "--mouth"),
        ({"output": Path("film.gif")}, "must end in .mp4"),
        ({"emotion": "hapy"}, "happy"),
        ({"emotion": "happy:-1"}, "happy"),
        ({"avatar": "nobody"}, "no avatar 'nobody'"),
        ({"background": "greenish"}, "neither a picture nor a colour"),
        ({"features": "melo"}, "no speech features"),
        ({"pose": "take"}, "recorded poses"),
        ({"output": Path("/proc/out.mp4")}, "cannot write"),
    ],
)
def test_wrong_orders(folder: Path, sound: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        film(order(folder, sound, **changes))
    assert not list(sound.parent.glob("*.mp4"))


def test_sound_that_cannot_be_used(folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "notes.wav"
    text.write_text("no sound at all")
    with pytest.raises(MediaError, match=r"notes\.wav"):
        film(order(folder, text))
    with pytest.raises(MediaError, match="absent"):
        film(order(folder, tmp_path / "absent.wav"))
    write_wav(tmp_path / "short.wav", Audio(np.zeros(1000, np.float32)))
    with pytest.raises(UserError, match=r"at least 0\.2 s"):
        film(order(folder, tmp_path / "short.wav"))


def test_silence_noise_and_broken_samples_still_make_a_film(folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, samples in {
        "silence": np.zeros(8000),
        "noise": rng.uniform(-1, 1, 8000),
        "clipped": np.clip(rng.normal(0, 3, 8000), -1, 1),
    }.items():
        path = tmp_path / f"{name}.wav"
        write_wav(path, Audio(samples.astype(np.float32)))
        assert film(order(folder, path))["frames"] == 13


def test_the_command_line_says_it_in_one_line(
    folder: Path, sound: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["speak", str(sound), "--avatar", "nobody", "-o", str(sound.with_suffix(".mp4"))]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.err.startswith("emogene: there is no avatar")
    assert main(["spaek"]) == 2
    assert "did you mean 'speak'?" in capsys.readouterr().err
    arguments = ["speak", str(sound), "--avatar", str(folder), "--features", "mel", "--size", "256"]
    assert main([*arguments, "-o", str(sound.with_suffix(".mp4")), "--stats"]) == 0
    assert '"rtf"' in capsys.readouterr().out
