"""Fit the motion model to one person from some seconds of their footage (part of `emogene create`).

The person's own way of speaking (amplitude, width, timing) is learned by the upper layers; the layers that
understand speech stay as they are, because 15 s of one voice would only spoil them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from emogene.data.takes import TakeConfig, build_takes, load_takes
from emogene.errors import UserError
from emogene.features.extractor import SpeechFeatures
from emogene.io.clip import Clip
from emogene.motion.condition import Trunk
from emogene.motion.model import MotionModel
from emogene.training.motion import train_motion, training_recipe
from emogene.types import FPS, Audio, FloatArray

SHORTEST_S = 15.0
FROZEN_LAYERS = 3


def adapt_motion(
    run_dir: Path,
    clips: Sequence[Clip],
    base: MotionModel,
    extractor: SpeechFeatures,
    prosody: Callable[[Audio], FloatArray],
    *,
    steps: int = 240,
    seed: int = 0,
) -> MotionModel:
    """Return ``base`` fitted to the speaker of ``clips``; resumes in ``run_dir``, ``base`` stays as it is.

    Args:
        run_dir: run folder.
        clips: footage of one person, 15 s or more, in sync.
        base: the model to start from.
        extractor, prosody: what the model will hear in use.
        steps: optimizer steps; 240 take about a minute of one CPU core.
        seed: of everything random.

    Raises:
        UserError: too little footage.
    """
    seconds = sum(clip.n_frames for clip in clips) / FPS
    if seconds < SHORTEST_S:
        raise UserError(
            f"{seconds:.0f} s of speech are too short to learn a voice from; give {SHORTEST_S:.0f} s"
        )
    config = TakeConfig(seconds=8, versions=3, plain_versions=2, split_share=0.5, seed=seed)
    build_takes(clips, extractor, prosody, run_dir / "takes", config)
    losses, loop = training_recipe("standard")
    loop = replace(
        loop, steps=steps, learning_rate=5e-4, warmup=20, validate_every=0, checkpoint_every=steps, seed=seed
    )
    return train_motion(
        run_dir,
        load_takes(run_dir / "takes"),
        base.config,
        replace(losses, batch=8),
        loop,
        start_from=base.network,
        freeze=_freeze_hearing,
    )


def _freeze_hearing(model: MotionModel) -> None:
    """Keep the first layers of the trunk."""
    trunk = model.network.condition
    if isinstance(trunk, Trunk):
        for module in (trunk.enter, *list(trunk.layers)[:FROZEN_LAYERS]):
            module.requires_grad_(False)
