"""A voice agent's face: sound arrives in pieces, pictures leave as soon as they can, the user interrupts.

    python examples/10_stream.py speech.wav
"""

import sys
import time
from pathlib import Path

from emogene.avatar import Avatar
from emogene.io.audio import read_audio
from emogene.pipeline import Session

PIECE = 1600  # samples: a tenth of a second, as a microphone or a speech synthesiser delivers it


def main(speech: Path) -> float:
    """Return the seconds that were shown before the interruption."""
    samples = read_audio(speech).samples
    session = Session(Avatar.load(), "0:neutral, 1:happy:0.8", size=256, quality="draft", block_frames=8)
    started, shown = time.perf_counter(), 0
    for start in range(0, len(samples), PIECE):
        session.push_audio(samples[start : start + PIECE])
        for frame in session:
            shown = frame.index + 1
        if shown > 50:  # the user starts to talk: stop here
            break
    seconds = session.interrupt()
    took = time.perf_counter() - started
    sys.stdout.write(f"{seconds:.2f} s shown, {took:.2f} s of computing\n")
    return seconds


if __name__ == "__main__":
    main(Path(sys.argv[1]))
