"""Every unusable file gives one sentence that says what, where and what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emogene.assets import is_present
from emogene.avatar import built_in_folder
from emogene.capture.create import create_clip
from emogene.capture.person import Order
from emogene.capture.preflight import check
from emogene.cli import main
from emogene.errors import UserError
from emogene.io.images import read_rgb, resize, write_rgb
from emogene.io.video import VideoWriter
from emogene.types import Audio, ByteArray
from tests.io.media_files import write_pictures

pytestmark = pytest.mark.skipif(
    not is_present("face-landmarker"), reason="the face landmarker was not fetched"
)
SPEECH = np.random.default_rng(0).normal(0, 0.1, 16000 * 11).astype(np.float32).clip(-0.9, 0.9)


def sentence_of(path: Path, out: Path) -> str:
    """What `create` says about a file; it must leave no clip behind."""
    with pytest.raises(UserError) as caught:
        create_clip(path, out)
    assert not (out / "clip.json").exists()
    message = str(caught.value)
    assert "\n" not in message and path.name in message
    return message


def write_film(path: Path, pictures: list[ByteArray], fps: int = 25, sound: np.ndarray = SPEECH) -> Path:
    height, width = pictures[0].shape[:2]
    with VideoWriter(path, (width, height), fps, audio=Audio(sound)) as writer:
        for picture in pictures:
            writer.write(picture)
    return path


def persona(size: int) -> ByteArray:
    """A picture of the built-in synthetic person."""
    previews = sorted(built_in_folder().glob("*/preview.png"))
    if not previews:
        pytest.skip("no built-in avatar ships a preview")
    return resize(read_rgb(previews[0]), size, size)


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "empty.mp4").touch()
    assert "not a sound or video file" in sentence_of(tmp_path / "text.mp4", tmp_path / "clip")
    assert "is empty" in sentence_of(tmp_path / "empty.mp4", tmp_path / "clip")
    assert "does not exist" in sentence_of(tmp_path / "none.mp4", tmp_path / "clip")
    from emogene.io.audio import write_wav

    write_wav(tmp_path / "voice.wav", Audio(SPEECH))
    assert "no pictures" in sentence_of(tmp_path / "voice.wav", tmp_path / "clip")


@pytest.mark.parametrize(
    ("codec", "pixels", "fps"), [("libx264", "yuv420p", 60), ("libx265", "yuv420p10le", 25)]
)
def test_a_video_without_a_face(tmp_path: Path, codec: str, pixels: str, fps: int) -> None:
    times = [index / fps for index in range(3 * fps)]
    path = write_pictures(tmp_path / "wall.mp4", times, codec=codec, pixel_format=pixels, sound=SPEECH)
    message = sentence_of(path, tmp_path / "clip")
    assert "too short" in message and "more: emogene create --check" in message
    report = check(path)
    assert any("no face" in finding.sentence for finding in report.errors)


def test_the_frames_of_a_slow_camera_are_not_counted_as_seconds(tmp_path: Path) -> None:
    """A webcam in the dark films 12 pictures a second; eleven seconds of that are eleven seconds."""
    path = write_film(tmp_path / "slow.mp4", [persona(128)] * 132, fps=12)
    sentences = {finding.topic: finding.sentence for finding in check(path).findings}
    assert sentences["length"].startswith("11 s will do")
    assert "12 frames per second are few" in sentences["frame rate"]


def test_a_still_picture_is_called_one(tmp_path: Path) -> None:
    write_rgb(tmp_path / "me.png", persona(256))
    assert "still picture" in check(tmp_path / "me.png").errors[0].sentence


def test_a_cut_off_file(tmp_path: Path) -> None:
    path = write_pictures(tmp_path / "cut.mkv", [index / 25 for index in range(100)], codec="mpeg4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    assert sentence_of(path, tmp_path / "clip")


def test_the_command_says_it_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_pictures(tmp_path / "wall.mp4", [index / 25 for index in range(30)])
    assert main(["create", str(path), "--check"]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and "too short" in captured.err and "Traceback" not in captured.err
    assert "no sound" in captured.out and "--check lists" not in captured.err
    assert main(["create", str(path), "--name", "me"]) == 2
    assert "consent" in capsys.readouterr().err


def test_names_and_consent_are_checked_first(tmp_path: Path) -> None:
    def order(**changes: object) -> Order:
        usual = {"video": tmp_path, "name": "me", "consent": "I agree", "folder": tmp_path, "work": tmp_path}
        return Order(**{**usual, **changes})  # type: ignore[arg-type]

    assert order().quality == "standard"
    for changes, words in (
        ({"name": "../me"}, "--name"),
        ({"name": ""}, "--name"),
        ({"consent": "  "}, "consent"),
        ({"minutes": -1.0}, "--minutes"),
    ):
        with pytest.raises(UserError, match=words):
            order(**changes)


def test_two_people_are_one_too_many(tmp_path: Path) -> None:
    one = persona(256)
    path = write_film(tmp_path / "two.mp4", [np.concatenate([one, one], axis=1)] * 25)
    assert any("more than one face" in finding.sentence for finding in check(path).errors)


def test_a_synthetic_face_is_found_and_measured(tmp_path: Path) -> None:
    path = write_film(tmp_path / "one.mp4", [persona(512)] * 25)
    report = check(path)
    assert {finding.topic for finding in report.errors} == {"length"}
    assert any("found in 100%" in finding.sentence for finding in report.findings)
