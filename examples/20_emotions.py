"""The picture at the head of the README: one moment of speech in all eight emotions.

    python examples/20_emotions.py speech.wav emotions.jpg --at 1.2
"""

import argparse
from itertools import islice
from pathlib import Path

import numpy as np

from emogene.avatar import Avatar
from emogene.io.audio import read_audio
from emogene.io.images import resize, write_rgb
from emogene.pipeline import animate
from emogene.types import EMOTIONS, FPS, ByteArray

SIZE = 256


def moment(speech: Path, emotion: str, at_s: float, avatar: Avatar) -> ByteArray:
    """The picture of ``avatar`` at ``at_s`` seconds of ``speech``."""
    background = resize(avatar.portrait.background, SIZE * 2, SIZE * 2)
    audio = read_audio(speech)
    frames = animate(audio, avatar, emotion, size=SIZE * 2, background=background, block_frames=8)
    frame = next(islice(frames, round(at_s * FPS), None))
    return resize(frame.image, SIZE, SIZE)


def main() -> None:
    """Write the strip."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("speech", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--at", type=float, default=1.2)
    arguments = parser.parse_args()
    avatar = Avatar.load()
    pictures = [moment(arguments.speech, emotion, arguments.at, avatar) for emotion in EMOTIONS]
    rows = [np.concatenate(pictures[:4], axis=1), np.concatenate(pictures[4:], axis=1)]
    write_rgb(arguments.picture, np.concatenate(rows))


if __name__ == "__main__":
    main()
