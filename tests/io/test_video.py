from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from emogene.errors import MediaError, UserError
from emogene.io.audio import read_audio
from emogene.io.files import sha256
from emogene.io.video import VideoWriter, probe_video, read_video
from emogene.types import Audio
from tests.io.media_files import number_of, numbered, tone, write_pictures


def _numbers(path: Path, fps: float | None = 25) -> list[int]:
    return [number_of(image) for _, image in read_video(path, fps)[1]]


def test_constant_rate_is_read_frame_by_frame(tmp_path: Path) -> None:
    path = write_pictures(tmp_path / "v.mp4", [k / 25 for k in range(20)])
    info, pictures = read_video(path)
    frames = list(pictures)
    assert (info.width, info.height, info.fps, info.n_frames) == (64, 48, 25, 20)
    assert [pts for pts, _ in frames] == pytest.approx([k / 25 for k in range(20)])
    assert all(image.flags["C_CONTIGUOUS"] and image.dtype == np.uint8 for _, image in frames)
    assert _numbers(path) == list(range(20))


@pytest.mark.parametrize("size", [(360, 288), (50, 46), (64, 48)])
def test_padded_rows_do_not_leak(tmp_path: Path, size: tuple[int, int]) -> None:
    path = write_pictures(tmp_path / "v.mp4", [0.0, 0.04, 0.08], *size)
    image = next(read_video(path)[1])[1]
    assert image.shape == (size[1], size[0], 3) and image.flags["C_CONTIGUOUS"]
    assert np.abs(image.astype(int) - numbered(0, *size)).mean() < 6


def test_other_rates_become_25_by_time(tmp_path: Path) -> None:
    sixty = write_pictures(tmp_path / "60.mp4", [k / 60 for k in range(25)])
    wanted = [round(k / 25 * 60) for k in range(10)]
    assert _numbers(sixty)[:10] == pytest.approx(wanted, abs=1)
    fifteen = write_pictures(tmp_path / "15.mkv", [k / 15 for k in range(15)])
    numbers = _numbers(fifteen)
    assert len(numbers) == pytest.approx(25, abs=1)
    assert numbers == sorted(numbers)


def test_varying_rate_keeps_time(tmp_path: Path) -> None:
    times = [0.0, 0.033, 0.066, 0.2, 0.4, 0.433, 0.466]
    numbers = _numbers(write_pictures(tmp_path / "v.mkv", times))
    at = np.arange(len(numbers)) / 25
    assert numbers == [int(np.abs(np.array(times) - time).argmin()) for time in at]


def test_video_that_starts_after_its_sound(tmp_path: Path) -> None:
    times = [0.2 + k / 25 for k in range(10)]
    path = write_pictures(tmp_path / "v.mp4", times, sound=tone(0.6, 16000))
    info, pictures = read_video(path)
    assert info.has_audio and info.start_s == pytest.approx(0.2, abs=0.03)
    assert next(pictures)[0] == pytest.approx(0.2, abs=0.03)
    assert _numbers(path)[:7] == [0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_phone_footage_is_upright(tmp_path: Path, degrees: int) -> None:
    path = write_pictures(tmp_path / "v.mp4", [0.0, 0.04, 0.08])
    _set_rotation(path, degrees)
    info, pictures = read_video(path)
    image = next(pictures)[1]
    # The red corner was top left; the matrix says to turn the picture clockwise by ``degrees``.
    upright = np.rot90(numbered(0), k=-degrees // 90)
    assert image.shape == upright.shape == (info.height, info.width, 3)
    assert np.abs(image.astype(int) - upright).mean() < 6


def _set_rotation(path: Path, degrees: int) -> None:
    """Put a clockwise display rotation into the mp4's track header, as phones do."""
    data = bytearray(path.read_bytes())
    cos, sin = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    one = 1 << 16
    matrix = struct.pack(">9i", cos * one, sin * one, 0, -sin * one, cos * one, 0, 0, 0, 1 << 30)
    start = data.index(b"tkhd") + 4 + 40
    data[start : start + 36] = matrix
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("codec", "pixel_format", "name"),
    [("libx265", "yuv420p10le", "v.mp4"), ("ffv1", "yuv444p", "v.mkv"), ("libvpx-vp9", "yuv420p", "v.webm")],
)
def test_codecs_and_depths(tmp_path: Path, codec: str, pixel_format: str, name: str) -> None:
    path = write_pictures(tmp_path / name, [k / 25 for k in range(5)], codec=codec, pixel_format=pixel_format)
    assert _numbers(path) == list(range(5))


def test_truncated_and_wrong_files(tmp_path: Path) -> None:
    path = write_pictures(tmp_path / "v.mkv", [k / 25 for k in range(60)], 320, 240)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 0 < len(_numbers(path)) < 60
    (tmp_path / "a.mp4").write_bytes(b"nothing to see here" * 100)
    with pytest.raises(MediaError, match=r"a\.mp4"):
        read_video(tmp_path / "a.mp4")
    with VideoWriter(tmp_path / "b.mp4", (64, 48)) as writer:
        writer.write(numbered(0))
    assert probe_video(tmp_path / "b.mp4").has_audio is False


def test_writer_sound_and_pictures_are_equally_long(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    for seconds in (0.7, 1.3):  # Sound shorter and longer than the pictures.
        with VideoWriter(path, (64, 48), audio=Audio(tone(seconds, 16000))) as writer:
            for k in range(25):
                writer.write(numbered(k))
        info = probe_video(path)
        assert info.n_frames == 25 and info.fps == 25 and info.codec == "h264"
        assert _numbers(path) == list(range(25))
        sound = read_audio(path)
        assert abs(sound.duration_s - 1.0) <= 1 / 25
        n = int(min(seconds, 1.0) * 16000) - 400
        # In place to the sample, and silence where there was none.
        assert np.abs(sound.samples[400:n] - tone(seconds, 16000)[400:n]).max() < 0.05
        assert np.abs(sound.samples[int(seconds * 16000) + 800 : 15500]).max(initial=0) < 0.02


def test_writer_takes_sound_from_a_file_and_is_deterministic(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "v.mp4", [0.0, 0.04], sound=tone(1.0, 16000))
    for name in ("a.mp4", "b.mp4"):
        with VideoWriter(
            tmp_path / name, (64, 48), audio_path=source, metadata={"comment": "synthetic", "title": "t"}
        ) as writer:
            for k in range(10):
                writer.write(numbered(k))
    assert sha256(tmp_path / "a.mp4") == sha256(tmp_path / "b.mp4")
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.metadata["comment"] == "synthetic" and container.metadata["title"] == "t"
        assert container.streams.audio[0].rate == 48000
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


def test_planes_are_written_as_they_are(tmp_path: Path) -> None:
    rgb = np.full((48, 64, 3), (200, 90, 30), np.uint8)
    planes = np.concatenate([np.full((48, 64), 110), np.full((12, 64), 91), np.full((12, 64), 179)])
    with (
        VideoWriter(tmp_path / "rgb.mp4", (64, 48)) as one,
        VideoWriter(tmp_path / "planes.mp4", (64, 48)) as two,
    ):
        for _ in range(3):
            one.write(rgb)
            two.write_planes(planes.astype(np.uint8))
        with pytest.raises(ValueError, match="planes must be"):
            two.write_planes(rgb)
    images = [next(read_video(tmp_path / name)[1])[1].astype(int) for name in ("rgb.mp4", "planes.mp4")]
    assert np.abs(images[0] - images[1]).max() <= 6 and np.abs(images[1] - rgb).mean() <= 3


def test_nothing_is_left_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyError), VideoWriter(tmp_path / "a.mp4", (64, 48)) as writer:
        writer.write(numbered(0))
        raise KeyError
    with pytest.raises(MediaError, match="no pictures"), VideoWriter(tmp_path / "a.mp4", (64, 48)):
        pass
    with (
        pytest.raises(MediaError, match="absent"),
        VideoWriter(tmp_path / "a.mp4", (64, 48), audio_path=tmp_path / "absent.wav") as writer,
    ):
        writer.write(numbered(0))
    with pytest.raises(UserError, match=r"\.mp4"):
        VideoWriter(tmp_path / "a.gif", (64, 48))
    with pytest.raises(ValueError, match="even"):
        VideoWriter(tmp_path / "a.mp4", (63, 48))
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_a_user_error(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")
    writer = VideoWriter(tmp_path / "a.mp4", (64, 48))
    with pytest.raises(UserError, match="cannot write"), writer:
        writer._container.close()
        writer._container = av.open(str(full), "w", format="mp4")
        writer._video = writer._video_stream()
        for k in range(10):
            writer.write(numbered(k))
    assert list(tmp_path.iterdir()) == []


def test_hdr_footage_looks_like_a_picture(tmp_path: Path) -> None:
    from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc

    path = tmp_path / "hlg.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=25)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = 64, 48, "yuv420p10le"
        context.colorspace, context.color_primaries = Colorspace.BT2020, ColorPrimaries.BT2020
        context.color_trc = ColorTrc.ARIB_STD_B67
        white = np.full((48, 64, 3), round(0.75 * 65535), np.uint16)
        frame = av.VideoFrame.from_ndarray(white, format="rgb48le")
        frame = frame.reformat(format="yuv420p10le", dst_colorspace=Colorspace.BT2020)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    image = next(read_video(path)[1])[1]
    # Paper white is 75 % of an HLG signal: 191 if it were shown as it is.
    assert image.dtype == np.uint8 and 215 <= image.mean() <= 245


@pytest.mark.parametrize(("name", "decoder"), [("a.webm", "libvpx-vp9"), ("a.mov", "prores")])
def test_transparency_is_kept(tmp_path: Path, name: str, decoder: str) -> None:
    rgba = np.dstack([numbered(3), np.full((48, 64), 255, np.uint8)])
    rgba[:, 32:, 3] = 0
    with VideoWriter(tmp_path / name, (64, 48), audio=Audio(tone(0.4, 16000)), alpha=True) as writer:
        for _ in range(10):
            writer.write(rgba)
    with av.open(str(tmp_path / name)) as container:
        # The usual VP9 decoder drops the alpha plane.
        context = av.CodecContext.create(decoder, "r")
        context.extradata = container.streams.video[0].codec_context.extradata
        packet = next(packet for packet in container.demux(video=0))
        frames = context.decode(packet) or context.decode(None)
        alpha = frames[0].to_ndarray(format="rgba")[..., 3]
    assert alpha[:, :28].min() > 240 and alpha[:, 36:].max() < 15
    assert read_audio(tmp_path / name).duration_s == pytest.approx(0.4, abs=0.04)
    with pytest.raises(UserError, match="transparent"):
        VideoWriter(tmp_path / "a.mp4", (64, 48), alpha=True)
