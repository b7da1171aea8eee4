"""A whole avatar of real classes at tiny size with random weights, for what must hold untrained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from emogene.avatar import Avatar, AvatarCard
from emogene.emotion import model as emotion_model
from emogene.emotion.apply import EmotionModel
from emogene.features.mel import MelFeatures
from emogene.motion import vae
from emogene.motion.model import MotionModel
from emogene.pose.bank import PoseBank
from emogene.render.decoder import DecoderConfig
from emogene.render.field import FieldConfig
from emogene.render.model import PortraitConfig, PortraitModel
from emogene.render.portrait import Portrait
from emogene.types import Camera, Identity

SIZE = 64


def neutral_face() -> np.ndarray:
    """[68, 3] a plausible symmetric face."""
    x = np.concatenate(
        [
            np.linspace(-0.8, 0.8, 17),
            np.linspace(-0.55, -0.1, 5),
            np.linspace(0.1, 0.55, 5),
            np.zeros(4),
            np.linspace(-0.15, 0.15, 5),
            [-0.5, -0.4, -0.27, -0.17, -0.27, -0.4],
            [0.17, 0.27, 0.4, 0.5, 0.4, 0.27],
            [-0.3, -0.2, -0.08, 0, 0.08, 0.2, 0.3, 0.2, 0.08, 0, -0.08, -0.2],
            [-0.25, -0.1, 0, 0.1, 0.25, 0.1, 0, -0.1],
        ]
    )
    y = np.concatenate(
        [
            -1.3 + 1.2 * (np.linspace(-1, 1, 17) ** 2),
            np.full(10, 0.25),
            np.linspace(0.05, -0.4, 4),
            np.full(5, -0.5),
            [0, 0.06, 0.06, 0, -0.06, -0.06] * 2,
            [-0.8, -0.75, -0.72, -0.73, -0.72, -0.75, -0.8, -0.87, -0.9, -0.9, -0.9, -0.87],
            [-0.8, -0.8, -0.8, -0.8, -0.8, -0.81, -0.81, -0.81],
        ]
    )
    z = 0.3 - 0.6 * x**2
    return np.stack([x, y, z], 1).astype(np.float32)


def make(folder: Path) -> Avatar:
    """Write the avatar into ``folder`` with its own motion and emotion weights, and open it."""
    torch.manual_seed(0)
    face = neutral_face()
    rng = np.random.default_rng(0)
    bank = rng.normal(0, 0.02, (40, 68, 3)).astype(np.float32)
    identity = Identity(face, bank.std(0), np.quantile(bank, 0.03, 0), np.quantile(bank, 0.97, 0), bank)
    camera = Camera(focal_px=4.0 * SIZE, cx_px=SIZE / 2, cy_px=SIZE / 2, width_px=SIZE, height_px=SIZE)
    config = PortraitConfig(
        camera=camera,
        low=16,
        step=1 / 16,
        head=FieldConfig(levels=2, log2_table=8, base=4, finest=8, hidden=16),
        decoder=DecoderConfig(),
    )
    model = PortraitModel(config, face)
    background = np.full((SIZE, SIZE, 3), 200, np.uint8)
    card = AvatarCard("tiny", synthetic=True, licence="CC0")
    avatar = Avatar(card, identity, PoseBank.typical(), Portrait(model, background))
    avatar.save(folder)
    motion_config = replace(vae.tiny(), features="mel", feature_dim=MelFeatures.dim)
    MotionModel(vae.MotionVae(motion_config)).save(folder / "motion")
    EmotionModel(emotion_model.build(emotion_model.tiny())).save(folder / "emotion")
    return Avatar.load(folder)
