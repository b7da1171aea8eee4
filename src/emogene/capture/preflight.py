"""Is this footage good for an avatar? Every finding in one sentence: what, how much, what to do.

Errors stop `create` (they would waste the training time); warnings say what will be less than good.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from emogene.capture.crop import choose_crop
from emogene.capture.steps import Progress, counted, no_progress
from emogene.capture.survey import LONGEST_S, Survey, survey_video
from emogene.errors import MediaError, UserError
from emogene.types import FPS, Audio

Level = Literal["error", "warning", "good"]

MIN_SECONDS, GOOD_SECONDS = 10.0, 60.0
MIN_FACE_PX, GOOD_FACE_PX = 96.0, 200.0
"""Height of the face in pixels of the file."""
MAX_FACE_SHARE = 0.92
MIN_FOUND_SHARE, GOOD_FOUND_SHARE = 0.6, 0.97
MAX_TWO_FACES_SHARE, ANY_TWO_FACES_SHARE = 0.3, 0.02
DARK, BRIGHT = 55.0, 215.0
"""Mean grey of the face outside which it is under- or over-exposed; skin of every colour lies between."""
BLURRED = 0.045
"""Detail of the face below which it is out of focus or heavily compressed."""
STILL_CAMERA = 2.0
"""Change of the picture's upper corners between looks (grey levels) that codecs and light alone cause."""
TURNED, TURNED_SHARE = 0.5, 0.15
LEANING_DEG, LYING_DEG = 20.0, 45.0
SILENT_DB, QUIET_DB = -60.0, -42.0
MAX_OFFSET_S = 0.05
SYNC_SECONDS = 16.0
"""Length of the beginning whose lips are compared with the sound."""


@dataclass(frozen=True)
class Finding:
    """One judgement: level, what was looked at, and a sentence."""

    level: Level
    topic: str
    sentence: str


@dataclass(frozen=True)
class Report:
    """All findings about a file."""

    video: Path
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level == "warning")

    def raise_errors(self, *, listed: bool = False) -> None:
        """UserError with the first error's sentence and, unless they are listed, how many more there are."""
        if self.errors:
            more = 0 if listed else len(self.errors) - 1
            tail = f" (and {more} more: emogene create --check lists them)" if more else ""
            raise UserError(f"{self.video}: {self.errors[0].sentence}{tail}")


def check(video: Path, progress: Progress = no_progress) -> Report:
    """Look through a file and judge it.

    Args:
        video: the file.
        progress: called with (step, done, total).

    Raises:
        MediaError: the file is not a readable video at all.
    """
    from emogene.io.audio import read_audio

    survey = survey_video(Path(video), lambda name, items, total: counted(progress, name, items, total))
    try:
        audio = read_audio(video) if survey.has_audio else None
    except MediaError:
        audio = None
    return judge(Path(video), survey, audio, _offset_s(Path(video), audio, survey))


def _offset_s(video: Path, audio: Audio | None, survey: Survey) -> float | None:
    """Offset of the first seconds' lips against the sound; None where it cannot be told."""
    from emogene.capture.canonical import canonical_face
    from emogene.capture.sync import expert_is_here, measure_offset
    from emogene.capture.tracker import track_video
    from emogene.capture.tracks import fitted, sound_of

    if audio is None or not survey.face_boxes() or not expert_is_here():
        return None
    track = fitted(track_video(video, max_frames=round(SYNC_SECONDS * survey.fps)), audio)
    if not track.valid.any():
        return None
    offset = measure_offset(sound_of(audio, len(track)), canonical_face(track).landmarks_cano)
    return offset.seconds if offset is not None and offset.is_known else None


def judge(video: Path, survey: Survey, audio: Audio | None, offset_s: float | None = None) -> Report:
    """Judge what a survey found.

    Args:
        video: the file, for the report.
        survey: from `survey_video`.
        audio: its sound; None where it has none.
        offset_s: seconds by which the picture is late, where a sync expert measured it.
    """
    findings = [
        *_length(survey, audio),
        *_faces(survey),
        *_face_size(survey),
        *_light(survey),
        *_sound(audio),
        *_form(survey),
        *_movement(survey),
        *_sync(offset_s),
    ]
    return Report(video, tuple(findings))


def _length(survey: Survey, audio: Audio | None) -> list[Finding]:
    if survey.n_frames == 1:
        return [Finding("error", "length", "this is a still picture; give a video of the person speaking")]
    seconds = survey.seconds(survey.n_frames)
    if audio is not None:
        seconds = min(seconds, audio.duration_s)
    seconds -= survey.seconds(len(survey.left_out))
    if seconds < MIN_SECONDS:
        sentence = f"{seconds:.1f} s of picture and sound are too short; film at least {MIN_SECONDS:.0f} s,"
        return [Finding("error", "length", sentence + " better two minutes")]
    if seconds < GOOD_SECONDS:
        sentence = f"{seconds:.0f} s will do, but a minute or more gives truer lips and more expressions"
        return [Finding("warning", "length", sentence)]
    if survey.duration_s > LONGEST_S + 1:
        sentence = (
            f"only the first {LONGEST_S / 60:.0f} minutes are used; cut out the part you want to be used"
        )
        return [Finding("warning", "length", sentence)]
    return [Finding("good", "length", f"{seconds:.0f} s")]


def _faces(survey: Survey) -> list[Finding]:
    counts = np.array(survey.n_faces or [0])
    found, several = float((counts > 0).mean()), float((counts > 1).mean())
    if found == 0:
        return [
            Finding("error", "face", "no face was found; film one person facing the camera in good light")
        ]
    findings = []
    if found < MIN_FOUND_SHARE:
        sentence = f"a face is visible in only {found:.0%} of the video; cut out the parts without the person"
        findings.append(Finding("error", "face", sentence))
    elif found < GOOD_FOUND_SHARE:
        sentence = f"the face is lost in {1 - found:.0%} of the video (turned away or covered); these frames"
        findings.append(Finding("warning", "face", sentence + " are left out"))
    else:
        findings.append(Finding("good", "face", f"found in {found:.0%} of the video"))
    if several > MAX_TWO_FACES_SHARE:
        sentence = (
            f"more than one face is in the picture for {several:.0%} of the video; crop it to one person"
        )
        findings.append(Finding("error", "persons", sentence))
    elif several > ANY_TWO_FACES_SHARE:
        sentence = f"a second face shows in {several:.0%} of the video; the larger one is used"
        findings.append(Finding("warning", "persons", sentence))
    turned = float((np.abs(survey.yaw) > TURNED).mean()) if survey.yaw else 0.0
    if turned > TURNED_SHARE:
        sentence = f"the head is turned far to the side in {turned:.0%} of the video; face the camera"
        findings.append(Finding("warning", "view", sentence))
    return findings + _upright(survey)


def _upright(survey: Survey) -> list[Finding]:
    """Phones lose the note of how they were held when a video is edited or sent."""
    lean = float(np.median(survey.roll_deg)) if survey.roll_deg else 0.0
    if abs(lean) > LYING_DEG:
        sentence = f"the picture lies on its side (by {abs(lean):.0f} degrees); rotate the video first"
        return [Finding("error", "upright", sentence)]
    if abs(lean) > LEANING_DEG:
        sentence = f"the head leans by {abs(lean):.0f} degrees; hold camera and head upright"
        return [Finding("warning", "upright", sentence)]
    return []


def _face_size(survey: Survey) -> list[Finding]:
    boxes = survey.face_boxes()
    if not boxes:
        return []
    face = float(np.median([box.side_px for box in boxes]))
    side = choose_crop(boxes, survey.width, survey.height).side_px
    if face < MIN_FACE_PX:
        sentence = f"the face is only {face:.0f} px high ({MIN_FACE_PX:.0f} needed); film closer or larger"
        return [Finding("error", "size", sentence)]
    if face > MAX_FACE_SHARE * side:
        sentence = "the face fills the picture; step back until head and shoulders are visible"
        return [Finding("error", "size", sentence)]
    if face < GOOD_FACE_PX:
        sentence = f"the face is {face:.0f} px high; from {GOOD_FACE_PX:.0f} px on the avatar is sharp"
        return [Finding("warning", "size", sentence)]
    return [Finding("good", "size", f"face {face:.0f} px high, portrait square {side:.0f} px")]


def _light(survey: Survey) -> list[Finding]:
    if not survey.brightness:
        return []
    findings = []
    grey, detail = float(np.median(survey.brightness)), float(np.median(survey.sharpness))
    if grey < DARK:
        sentence = f"the face is dark (mean {grey:.0f} of 255); film with light from the front"
        findings.append(Finding("warning", "light", sentence))
    elif grey > BRIGHT:
        sentence = f"the face is over-exposed (mean {grey:.0f} of 255); use less light or exposure"
        findings.append(Finding("warning", "light", sentence))
    else:
        findings.append(Finding("good", "light", f"mean {grey:.0f} of 255"))
    if detail < BLURRED:
        sentence = "the face is blurred; clean the lens, focus on the eyes and avoid heavy compression"
        findings.append(Finding("warning", "sharpness", sentence))
    return findings


def _sound(audio: Audio | None) -> list[Finding]:
    if audio is None:
        return [Finding("error", "sound", "the video has no sound; record it with the person's voice")]
    loudness = 10 * np.log10(float(np.mean(np.square(audio.samples))) + 1e-12)
    if loudness < SILENT_DB:
        return [Finding("error", "sound", "the sound is silent; record it with a working microphone")]
    findings = []
    if loudness < QUIET_DB:
        sentence = f"the sound is very quiet ({loudness:.0f} dB); speak up or move the microphone closer"
        findings.append(Finding("warning", "sound", sentence))
    clipped = float((np.abs(audio.samples) > 0.999).mean())
    if clipped > 0.002:
        sentence = f"{clipped:.1%} of the sound is clipped; lower the recording level"
        findings.append(Finding("warning", "sound", sentence))
    return findings or [Finding("good", "sound", f"{loudness:.0f} dB")]


def _form(survey: Survey) -> list[Finding]:
    findings = [
        Finding(
            "good", "picture", f"{survey.width} x {survey.height}, {survey.fps:g} fps, {survey.pixel_format}"
        )
    ]
    if survey.irregular_share > 0.05:
        sentence = f"the frame rate varies ({survey.irregular_share:.0%} of the steps); pictures are taken by"
        findings.append(Finding("warning", "frame rate", sentence + " their time stamps"))
    elif survey.fps < 22:
        sentence = f"{survey.fps:g} frames per second are few for lips; film with 25 or more"
        findings.append(Finding("warning", "frame rate", sentence))
    elif abs(survey.fps - FPS) > 0.1:
        findings.append(Finding("good", "frame rate", f"{survey.fps:g} fps are brought to {FPS}"))
    if survey.rotation_deg:
        findings.append(Finding("good", "rotation", f"turned upright by {survey.rotation_deg} degrees"))
    if survey.width != survey.height and survey.face_boxes():
        crop = choose_crop(survey.face_boxes(), survey.width, survey.height)
        place = f"{crop.side_px:.0f} px at ({crop.left_px:.0f}, {crop.top_px:.0f})"
        findings.append(Finding("good", "crop", f"a square of {place} is used"))
    return findings


def _movement(survey: Survey) -> list[Finding]:
    findings = []
    if survey.cuts:
        times = ", ".join(f"{survey.seconds(cut):.1f}" for cut in survey.cuts[:6])
        count = "1 cut" if len(survey.cuts) == 1 else f"{len(survey.cuts)} cuts"
        sentence = f"{count} (at {times} s); motion is not smoothed across them"
        findings.append(Finding("warning", "cuts", sentence))
    if survey.left_out:
        gone = survey.seconds(len(survey.left_out))
        sentence = f"{gone:.1f} s show another place, person or look (coat, hair, light)"
        findings.append(Finding("warning", "scene", sentence + " and are left out"))
    change = survey.border_change
    # A cut changes the corners too: judge by the usual change, not the largest.
    usual = float(np.median(change)) if change else 0.0
    if usual > STILL_CAMERA:
        sentence = "the camera or the background moves; a tripod and a still background are better than the"
        findings.append(Finding("warning", "camera", sentence + " blurred backdrop that replaces it"))
    boxes = survey.face_boxes()
    if len(boxes) > 3:
        centres = np.array([box.centre_px for box in boxes]) / np.median([box.side_px for box in boxes])
        travel = float(np.ptp(np.quantile(centres, (0.05, 0.95), axis=0), axis=0).max())
        if travel > 1.0:
            sentence = f"the head travels {travel:.1f} face heights; sit still for a sharper avatar"
            findings.append(Finding("warning", "movement", sentence))
    return findings


def _sync(offset_s: float | None) -> list[Finding]:
    if offset_s is None:
        return []
    if abs(offset_s) > MAX_OFFSET_S:
        side = "late" if offset_s > 0 else "early"
        sentence = f"the picture is {abs(offset_s) * 1000:.0f} ms {side} against the sound; it is corrected"
        return [Finding("warning", "sync", sentence)]
    return [Finding("good", "sync", f"picture and sound agree within {abs(offset_s) * 1000:.0f} ms")]
