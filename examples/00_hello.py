"""The shortest program: the built-in persona says a sound file happily; frames come as arrays.

    python examples/00_hello.py speech.wav
"""

import sys
from pathlib import Path

from emogene.avatar import Avatar
from emogene.io.audio import read_audio
from emogene.pipeline import animate


def main(speech: Path) -> int:
    """Return how many frames the sound became."""
    frames = animate(read_audio(speech), Avatar.load(), "happy:0.8")
    count = 0
    for frame in frames:
        assert frame.image.shape == (512, 512, 4)  # rgba: lay it over anything
        count += 1
    return count


if __name__ == "__main__":
    sys.stdout.write(f"{main(Path(sys.argv[1]))} frames\n")
