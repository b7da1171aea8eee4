"""Speech by flite, a small program with three recorded voices and one diphone voice (16 kHz)."""

from __future__ import annotations

import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np

from emogene.errors import UserError
from emogene.persona.phones import Phone, Reals
from emogene.persona.speech import Prosody, Voice

VOICE_F0_HZ = {"slt": (170, 14), "rms": (105, 12), "awb": (125, 12), "kal16": (105, 14)}
"""Mean and deviation of the fundamental of each voice."""


def speak_sentence(text: str, voice: Voice, prosody: Prosody) -> tuple[Reals, int, list[Phone]]:
    """Return samples, rate and phones; flite prints the end of each phone."""
    mean, deviation = VOICE_F0_HZ[voice.base]
    settings = {
        "duration_stretch": prosody.duration / voice.rate,
        "int_f0_target_mean": mean * voice.pitch * prosody.pitch,
        "int_f0_target_stddev": deviation * voice.pitch * prosody.pitch_range,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        command = ["flite", "-voice", voice.base, "-t", text, "-o", str(path), "-psdur"]
        for name, value in settings.items():
            command += ["--setf", f"{name}={value:.3f}"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0 or not path.exists():
            raise UserError(f"flite failed on {text!r}: {result.stderr.strip()[:200]}")
        with wave.open(str(path)) as stream:
            rate_hz = stream.getframerate()
            pcm = np.frombuffer(stream.readframes(stream.getnframes()), "<i2")
    phones: list[Phone] = []
    start = 0.0
    for token in result.stdout.split():
        label, _, end = token.rpartition(":")
        phones.append((start, float(end), label))
        start = float(end)
    return np.asarray(pcm, np.float32) / 32768, rate_hz, phones
