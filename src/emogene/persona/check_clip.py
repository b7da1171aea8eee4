"""Judge a portrait clip as a stranger would: clip folder -> is the face found, tracked, its emotion named.

    python -m emogene.persona.check_clip --clips clips/lena clips/jonas
    python -m emogene.persona.check_clip --personas lena jonas --videos acted/angry-1.mp4=angry

Every drawn frame goes through the face tracker; what it sees is held against the clip's exact labels. Then
the expression judge of ``evaluate`` names the emotion blind, take by take (the mean of a take's frames, as a
viewer sees a clip, not a frame). Personas act every emotion at full dose while they speak. Videos of acted
emotions go through the same judge: they are the yardstick.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emogene.capture.canonical import canonical_face
from emogene.capture.tracker import Track, track_frames
from emogene.evaluate.expression import ExpressionJudge
from emogene.geometry.landmarks import MESH_FROM_LANDMARK, eye_opening, lip_opening, lip_width, shut_level
from emogene.io.clip import Clip, open_clip
from emogene.io.images import read_rgb
from emogene.io.video import read_video
from emogene.persona.animation import animate_face
from emogene.persona.kit import shipped_kit
from emogene.persona.mesh import PersonaMesh
from emogene.persona.phones import Phone, viseme_of
from emogene.persona.portrait_clip import babble
from emogene.persona.render_gl import Renderer
from emogene.types import EMOTIONS, FPS, N_EMOTIONS, NEUTRAL, ByteArray, FloatArray

logger = logging.getLogger(__name__)

ACTS, ACT_FRAMES, ACT_EVERY = 2, 60, 8
"""Takes of each emotion that a persona acts, their length, and how many frames lie between two looks."""
LEAST_DOSE = 0.55
"""Takes with less of an emotion than this are not asked for."""


@dataclass(frozen=True)
class Agreement:
    """The tracker against exact labels: share of frames with a face, correlations, median pixels off.

    closed: share of the phones p, b, m at which the tracked lips meet (NaN where phones are unknown);
    closed_true: the same by the exact labels.
    """

    frames: int
    found: float
    lip_opening_r: float
    lip_width_r: float
    eye_opening_r: float
    median_px: float
    closed: float
    closed_true: float


def agreement(clip: Clip, indices: NDArray[np.intp], track: Track) -> Agreement:
    """Compare a track of the clip's frames ``indices`` with the clip's landmarks."""
    ok = track.valid
    exact, seen = clip.arrays["landmarks_cano"][indices][ok], canonical_face(track).landmarks_cano[ok]
    pose, camera = clip.arrays["pose"][indices][ok], clip.camera
    assert camera is not None, "portrait clips have a camera"
    points = np.einsum("tij,tkj->tki", pose[:, :3, :3], exact) + pose[:, None, :3, 3]
    pixels = camera.focal_px * points[..., :2] / points[..., 2:] + [camera.cx_px, camera.cy_px]
    away = np.linalg.norm(pixels - track.mesh_px[ok][:, MESH_FROM_LANDMARK, :2], axis=-1)

    def r(first: FloatArray, second: FloatArray) -> float:
        return float(np.corrcoef(first, second)[0, 1])

    return Agreement(
        frames=len(indices),
        found=float(ok.mean()),
        lip_opening_r=r(lip_opening(exact), lip_opening(seen)),
        lip_width_r=r(lip_width(exact), lip_width(seen)),
        eye_opening_r=r(eye_opening(exact).mean(1), eye_opening(seen).mean(1)),
        median_px=float(np.median(away)),
        closed=closed_share(lip_opening(seen), indices[ok], clip.phones),
        closed_true=closed_share(lip_opening(exact), indices[ok], clip.phones),
    )


def closed_share(opening: FloatArray, indices: NDArray[np.intp], phones: Sequence[Phone]) -> float:
    """Share of p, b, m during which the lips come below ``shut_level``.

    opening: [n] of the frames ``indices`` [n] of a clip at 25 fps.
    """
    level = shut_level(opening)
    met = [
        opening[inside].min() < level
        for start_s, end_s, label in phones
        if viseme_of(label) == "PP"
        and (inside := (indices >= round(start_s * FPS)) & (indices <= round(end_s * FPS))).any()
    ]
    return float(np.mean(met)) if met else float("nan")


def takes_of(emotion: FloatArray, least_dose: float = LEAST_DOSE) -> list[tuple[slice, int]]:
    """Runs of one emotion in weights [T, 8]: (frames, emotion); weak and mixed takes are left out."""
    label = np.where(emotion.max(1) >= least_dose, emotion.argmax(1), -1)
    others = emotion.copy()
    others[np.arange(len(label)), label] = 0
    others[:, NEUTRAL] = 0
    label[others.sum(1) > 0.05] = -1
    cuts = np.flatnonzero(np.diff(label)) + 1
    edges = [0, *cuts.tolist(), len(label)]
    return [(slice(a, b), int(label[a])) for a, b in pairwise(edges) if label[a] >= 0]


def judged(judge: ExpressionJudge, pictures: list[ByteArray], track: Track) -> FloatArray:
    """Probabilities [T, 8] of each picture; zeros where no face was found."""
    scores = np.zeros((len(pictures), N_EMOTIONS), np.float32)
    for index, picture in enumerate(pictures):
        if track.valid[index]:
            scores[index] = judge.score(picture, track.mesh_px[index], track.blendshapes[index])
    return scores


def check_clip(clip: Clip, judge: ExpressionJudge, every: int = 1) -> tuple[Agreement, FloatArray]:
    """Agreement of every ``every``-th picture, and how its takes were named [8, 8] (rows: the truth)."""
    indices = np.flatnonzero(clip.valid)[::every]
    pictures = [np.ascontiguousarray(read_rgb(clip.frame_path(int(index)))) for index in indices]
    # The tracker smooths over time: it must know how far apart the pictures are.
    track = track_frames(pictures, fps=FPS / float(np.median(np.diff(indices))))
    scores = judged(judge, pictures, track)
    table = np.zeros((N_EMOTIONS, N_EMOTIONS), np.float32)
    for frames, truth in takes_of(clip.arrays["emotion"]):
        inside = (indices >= frames.start) & (indices < frames.stop) & track.valid
        if inside.sum() >= 3:
            table[truth, scores[inside].mean(0).argmax()] += 1
    return agreement(clip, indices, track), table


def check_persona(name: str, judge: ExpressionJudge) -> FloatArray:
    """How a persona that speaks with each emotion at full dose is named, [8, 8]."""
    renderer = Renderer(PersonaMesh(shipped_kit(name)))
    table = np.zeros((N_EMOTIONS, N_EMOTIONS), np.float32)
    for truth in range(N_EMOTIONS):
        weights = np.zeros((ACT_FRAMES, N_EMOTIONS), np.float32)
        weights[:, truth] = 1
        for take in range(ACTS):
            phones, energy = babble(np.random.default_rng([7, take]), ACT_FRAMES / FPS)
            face = animate_face(phones, energy, weights, seed=take)
            # The first third of a take is still on the way to its emotion.
            acted = slice(ACT_FRAMES // 3, None, ACT_EVERY)
            units, turns = (np.asarray(x[acted], np.float32) for x in (face.units, face.head_euler_rad))
            still = np.zeros(3, np.float32)
            pictures = [renderer.draw(*motion, still)[0] for motion in zip(units, turns, strict=True)]
            track = track_frames(pictures, fps=FPS / ACT_EVERY)
            table[truth, judged(judge, pictures, track)[track.valid].mean(0).argmax()] += 1
    return table


def check_video(path: Path, truth: int, judge: ExpressionJudge, every: int = 5) -> FloatArray:
    """How an acted video was named, [8, 8] with one count."""
    pictures = [picture for number, (_, picture) in enumerate(read_video(path)[1]) if number % every == 0]
    track = track_frames(pictures, fps=FPS / every)
    table = np.zeros((N_EMOTIONS, N_EMOTIONS), np.float32)
    table[truth, judged(judge, pictures, track)[track.valid].mean(0).argmax()] = 1
    return table


def as_text(table: FloatArray) -> str:
    """A confusion table in Markdown: a row per true emotion, with the share that was named right."""
    lines = ["| true | " + " | ".join(EMOTIONS) + " | right |", "|---" * (N_EMOTIONS + 2) + "|"]
    for name, row, right in zip(EMOTIONS, table, np.diag(table), strict=True):
        if row.sum():
            cells = " | ".join(f"{int(count)}" if count else "" for count in row)
            lines.append(f"| {name} | {cells} | {right / row.sum():.0%} |")
    return (
        "\n".join(lines) + f"\n\nright: {np.trace(table) / max(table.sum(), 1):.0%} of {int(table.sum())}\n"
    )


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clips", type=Path, nargs="*", default=[], help="folders of persona.portrait_clip")
    parser.add_argument("--personas", nargs="*", default=[], help="names of shipped personas, to act")
    parser.add_argument("--videos", nargs="*", default=[], help="FILE=EMOTION of acted clips")
    parser.add_argument("--every", type=int, default=1, help="look at every so many pictures")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    judge = ExpressionJudge()
    total = np.zeros((N_EMOTIONS, N_EMOTIONS), np.float32)
    for folder in arguments.clips:
        found, table = check_clip(open_clip(folder), judge, arguments.every)
        sys.stdout.write(f"{folder.name}: {found}\n{as_text(table)}\n")
        total += table
    for name in arguments.personas:
        table = check_persona(name, judge)
        sys.stdout.write(f"{name}, full dose\n{as_text(table)}\n")
        total += table
    if len(arguments.clips) + len(arguments.personas) > 1:
        sys.stdout.write(f"all personas\n{as_text(total)}\n")
    acted = np.zeros_like(total)
    for item in arguments.videos:
        path, _, label = item.rpartition("=")
        acted += check_video(Path(path), EMOTIONS.index(label), judge)
    if acted.sum():
        sys.stdout.write(f"acted by people\n{as_text(acted)}\n")


if __name__ == "__main__":
    main()
