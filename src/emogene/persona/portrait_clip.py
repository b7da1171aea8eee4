"""Film a persona for the renderer's training: kit -> clip folder with exact labels.

    python -m emogene.persona.portrait_clip --persona lena --frames 660 --out clips/lena

The script is a row of short takes that together hold every viseme in every emotion at several doses,
blinks, glances and head poses, after a moment of the neutral face at rest. Motion is labelled at the full
25 fps, pictures are drawn of every third frame (``valid`` = 1), so that no two are alike and yet each has
its true past. Landmarks are mesh points, masks come from the rasteriser, the background is known: nothing
is estimated.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emogene.geometry.blendshapes import N_UNITS, UNIT
from emogene.io.clip import Clip, write_clip
from emogene.io.files import atomic_folder
from emogene.io.images import write_mask, write_rgb
from emogene.persona.animation import animate_face
from emogene.persona.emotions import with_neutral
from emogene.persona.kit import Kit, shipped_kit
from emogene.persona.mesh import PersonaMesh
from emogene.persona.recipe import DEFAULT_PERSONA
from emogene.persona.render_gl import Renderer, Studio
from emogene.types import FPS, N_EMOTIONS, NEUTRAL, FloatArray

logger = logging.getLogger(__name__)

# fmt: off
PHONES = (
    "p", "aa", "b", "iy", "m", "uw", "f", "ae", "v", "ow", "th", "ih", "dh", "ah", "t", "ao", "d", "eh", "n",
    "er", "l", "uh", "k", "ay", "g", "ey", "ng", "aw", "ch", "oy", "jh", "sh", "zh", "s", "z", "r", "w", "y",
    "hh",
)
# fmt: on
"""Every phone once; takes draw from reshuffled copies, so all visemes come up equally often."""
DOSES = (0.4, 0.7, 1.0)
STRIDE = 3
REST_FRAMES, TAKE_FRAMES = 12 * STRIDE, 20 * STRIDE
POSE_SD_RAD, POSE_LIMIT_RAD = np.array([0.06, 0.13, 0.045]), np.array([0.16, 0.34, 0.12])
SHIFT_SD_MM = np.array([4.0, 3.0, 4.0])
BLINK = np.array([0.5, 0.7, 0.9, 1.0, 0.9, 0.75, 0.55])
"""Lids over the frames around a shut one."""
JPEG_QUALITY = 97


@dataclass(frozen=True)
class Script:
    """What is filmed: units [T, 52], head_euler_rad [T, 3], head_translation_mm [T, 3], emotion [T, 8]."""

    units: FloatArray
    head_euler_rad: FloatArray
    head_translation_mm: FloatArray
    emotion: FloatArray


def build_portrait_clip(
    out: Path,
    n_frames: int = 900,
    seed: int = 0,
    persona: str = DEFAULT_PERSONA,
    kit: Kit | None = None,
    studio: Studio | None = None,
) -> Clip:
    """Draw ``n_frames`` pictures of a persona into the clip folder ``out``.

    A longer clip of the same seed starts with the same frames; pictures that ``out`` holds already are
    kept, so a clip can be extended. ``kit`` overrides the shipped kit of ``persona``.
    """
    renderer = Renderer(PersonaMesh(kit or shipped_kit(persona)), studio)
    script = write_script(n_frames * STRIDE, seed)
    drawn = range(0, len(script.units), STRIDE)
    with atomic_folder(out) as folder:
        _keep(out, folder)
        for name in ("frames", "masks"):
            (folder / name).mkdir(exist_ok=True)
        write_rgb(folder / "background.png", renderer.background())
        for index in drawn:
            picture, mask = folder / "frames" / f"{index:06d}.jpg", folder / "masks" / f"{index:06d}.png"
            if picture.exists() and mask.exists():
                continue
            image, classes = renderer.draw(
                script.units[index], script.head_euler_rad[index], script.head_translation_mm[index]
            )
            write_rgb(picture, image, quality=JPEG_QUALITY)
            write_mask(mask, classes)
            if index % (25 * STRIDE) == 0:
                logger.info("picture %d of %d", index // STRIDE, n_frames)
        return write_clip(
            folder,
            labels(renderer, script, drawn),
            camera=renderer.camera,
            speaker=renderer.mesh.kit.about["name"],
            source="emogene.persona: a synthetic human, no real person",
            licence="CC0-1.0",
            picture_stride=STRIDE,
            seed=seed,
            neutral_cano=renderer.mesh.neutral_cano.tolist(),
        )


def write_script(n_frames: int, seed: int) -> Script:
    """Plan the frames: rest first, then takes that go round emotions and doses."""
    rest = np.zeros((REST_FRAMES, 8), np.float32)
    rest[:, NEUTRAL] = 1
    parts = [Script(np.zeros((REST_FRAMES, N_UNITS), np.float32), *_still(REST_FRAMES), rest)]
    count, take = REST_FRAMES, 0
    while count < n_frames:
        parts.append(_take(take, seed))
        count += len(parts[-1].units)
        take += 1
    columns = zip(
        *[(p.units, p.head_euler_rad, p.head_translation_mm, p.emotion) for p in parts], strict=True
    )
    return Script(*(np.concatenate(column)[:n_frames] for column in columns))


def labels(renderer: Renderer, script: Script, drawn: range) -> dict[str, Any]:
    """The clip's arrays for a script, all exact; ``valid`` marks the frames that are drawn."""
    mesh = renderer.mesh
    poses = list(zip(script.head_euler_rad, script.head_translation_mm, strict=True))
    landmarks = np.stack([mesh.landmarks_cano(u, *p) for u, p in zip(script.units, poses, strict=True)])
    eyes = np.stack([mesh.eyes(u, marks) for u, marks in zip(script.units, landmarks, strict=True)])
    valid = np.zeros(len(landmarks), np.uint8)
    valid[drawn] = 1
    return {
        "landmarks_cano": landmarks,
        "eyes": eyes,
        "pose": np.stack([renderer.pose(*p) for p in poses]),
        "valid": valid,
        "blendshapes": script.units,
        "emotion": script.emotion,
    }


def babble(rng: np.random.Generator, duration_s: float) -> tuple[list[tuple[float, float, str]], FloatArray]:
    """Draw phones in random order with pauses, and their loudness at 100 Hz."""
    phones: list[tuple[float, float, str]] = []
    bag: list[str] = []
    time_s = 0.0
    energy = np.zeros(int(duration_s * 100) + 1, np.float32)
    while time_s < duration_s:
        bag = bag or list(rng.permutation(PHONES))
        label = "pau" if rng.random() < 0.06 else bag.pop()
        end_s = time_s + float(rng.uniform(0.07, 0.20))
        phones.append((time_s, end_s, label))
        energy[int(time_s * 100) : int(end_s * 100)] = 0.0 if label == "pau" else rng.uniform(0.4, 1.2)
        time_s = end_s
    return phones, energy


def _take(index: int, seed: int) -> Script:
    """One short take. Takes go round emotions, then doses."""
    rng = np.random.default_rng([seed, 11, index])
    emotion = index % N_EMOTIONS
    dose = DOSES[(index // N_EMOTIONS) % len(DOSES)] * rng.uniform(0.9, 1.0)
    weights = np.zeros((TAKE_FRAMES, N_EMOTIONS), np.float32)
    weights[:, emotion] = dose
    if index % 5 == 4:
        # Mixtures also belong to what the renderer must know.
        weights[:, rng.integers(N_EMOTIONS)] += 0.5 * max(1 - dose, 0.0)
    phones, energy = babble(rng, len(weights) / FPS)
    face = animate_face(phones, energy, weights, seed=int(rng.integers(1 << 30)))
    offset = np.clip(rng.normal(0, POSE_SD_RAD), -POSE_LIMIT_RAD, POSE_LIMIT_RAD)
    euler = np.clip(face.head_euler_rad + offset, -1.2 * POSE_LIMIT_RAD, 1.2 * POSE_LIMIT_RAD)
    shift = face.head_translation_mm + rng.normal(0, SHIFT_SD_MM)
    units = _glance(face.units, rng) if index % 4 == 1 else face.units
    units = _blink(units, rng)
    return Script(*(np.asarray(a, np.float32) for a in (units, euler, shift, with_neutral(weights))))


def _blink(units: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Shut the eyes once, fully on a drawn frame: chance leaves too few pictures of shut lids."""
    units = np.array(units)
    middle = STRIDE * int(rng.integers(2, TAKE_FRAMES // STRIDE - 2))
    frames = slice(middle - STRIDE, middle + STRIDE + 1)
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        units[frames, UNIT[name]] = np.maximum(units[frames, UNIT[name]], BLINK)
    return units


def _glance(units: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Look aside for the whole take, further than speakers usually do."""
    units = np.array(units)
    side, height = np.clip(rng.normal(0, (0.35, 0.30)), -0.8, 0.8)
    out_, in_ = ("Left", "Right") if side > 0 else ("Right", "Left")
    for name in (f"eyeLookOut{out_}", f"eyeLookIn{in_}"):
        units[:, UNIT[name]] = np.minimum(units[:, UNIT[name]] + abs(side), 1)
    upward = "Up" if height > 0 else "Down"
    for name in (f"eyeLook{upward}Left", f"eyeLook{upward}Right"):
        units[:, UNIT[name]] = np.minimum(units[:, UNIT[name]] + abs(height), 1)
    return units


def _still(n_frames: int) -> tuple[FloatArray, FloatArray]:
    return np.zeros((n_frames, 3), np.float32), np.zeros((n_frames, 3), np.float32)


def _keep(out: Path, folder: Path) -> None:
    """Take over the pictures of an earlier, shorter build."""
    for kind in ("frames", "masks"):
        if (out / kind).is_dir():
            shutil.copytree(out / kind, folder / kind)


def main() -> None:
    """Build a clip folder from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--persona", default=DEFAULT_PERSONA)
    parser.add_argument("--kit", type=Path, default=None, help="a kit folder instead of a shipped one")
    parser.add_argument("--frames", type=int, default=900)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    kit = None if arguments.kit is None else Kit.load(arguments.kit)
    build_portrait_clip(arguments.out, arguments.frames, arguments.seed, arguments.persona, kit)


if __name__ == "__main__":
    main()
