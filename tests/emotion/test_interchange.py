import json

import pytest
from hypothesis import given, settings

from emogene.emotion.grammar import parse_emotion
from emogene.emotion.interchange import (
    track_from_a2f,
    track_from_json,
    track_from_webvtt,
    track_to_a2f,
    track_to_json,
    track_to_webvtt,
    write_track,
)
from emogene.emotion.track import EmotionTrack
from emogene.errors import FormatError, UserError
from tests.emotion.test_track import tracks


@settings(max_examples=60, deadline=None)
@given(tracks())
def test_json_and_webvtt_keep_everything(track):
    assert track_from_json(json.loads(json.dumps(track_to_json(track)))) == track
    assert track_from_webvtt(track_to_webvtt(track)) == track


@settings(max_examples=60, deadline=None)
@given(tracks())
def test_time_codes_keep_times_and_doses(track):
    again = track_from_a2f(track_to_a2f(track))
    assert [(key.t_s, key.doses) for key in again.keys] == [(key.t_s, key.doses) for key in track.keys]


@pytest.mark.parametrize("name", ["face.json", "face.vtt"])
def test_files(tmp_path, name):
    track = parse_emotion("happy:0.7, 2:sad")
    write_track(tmp_path / name, track)
    assert parse_emotion(str(tmp_path / name)) == track


def test_a_foreign_webvtt_file():
    text = "WEBVTT\n\nSTYLE\n::cue {}\n\n1\n00:01.000 --> 00:02.000 align:start\nhappy:0.5\n\n" + (
        "00:00:04.500 --> 00:00:05.000\n0.5 sad + 0.2 fear\n"
    )
    track = track_from_webvtt(text.replace("\n", "\r\n"))
    assert str(track) == "1:happy:0.5, 2:neutral:1, 4.5:fear:0.2+sad:0.5"


def test_audio2face_names_map_or_drop(caplog):
    codes = [{"time_code": 1.5, "emotion": {"joy": 0.5, "grief": 0.25, "outofbreath": 1}}]
    assert str(track_from_a2f(codes)) == "1.5:happy:0.5+sad:0.25"
    assert "outofbreath" in caplog.text
    loud = track_from_a2f([{"time_code": 0, "emotion": {"joy": 1, "anger": 1}}])
    assert loud.keys[0].named_doses == {"angry": 0.75, "happy": 0.75}


def test_an_audio2face_file(tmp_path):
    (tmp_path / "a.json").write_text('{"emotion_with_time_code": [{"time_code": 0, "emotion": {"fear": 1}}]}')
    assert parse_emotion(tmp_path / "a.json") == EmotionTrack.constant("fear")


@pytest.mark.parametrize(
    "content",
    [
        *("{", "[]", "{}", '{"version": 2, "keys": []}', '{"version": 1, "keys": [{"t": 1}]}'),
        *('{"version": 1, "keys": [{"t": "x", "weights": {}}]}', '{"version": 1, "keys": [3]}'),
    ],
)
def test_broken_json_names_the_file(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(FormatError, match=r"a\.json"):
        parse_emotion(tmp_path / "a.json")


def test_broken_webvtt_and_values(tmp_path):
    for text in ("hello", "WEBVTT\n\n00:01 --> x\nhappy", "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\n{x"):
        with pytest.raises(FormatError):
            track_from_webvtt(text)
    (tmp_path / "a.json").write_text('{"version": 1, "keys": [{"t": 0, "weights": {"hapy": 1}}]}')
    with pytest.raises(UserError, match="did you mean"):
        parse_emotion(tmp_path / "a.json")
    (tmp_path / "b.vtt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match="cannot read"):
        parse_emotion(tmp_path / "b.vtt")
