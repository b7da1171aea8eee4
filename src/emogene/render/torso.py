"""Torso: a flat canonical picture of features, moved by the shoulders and bent by head pose.

Pixels are taken to the canonical plane by the shoulders' affine map and a small displacement grid, read
features there at twice the low resolution, and a per-pixel network turns them into colour, features and
alpha. Shoulders are no function of the head (a field on head pose alone reaches 21 dB on unseen frames),
so their map is tracked in the video (``training.render_torso``); where nobody tracks them, they follow
the head as far as they did in the video.

pose [B, 6], code [B, 32], shoulders [B, 6], xy [B, 2h, 2w, 2] in [-1, 1]
    -> channels [B, 16, h, w], alpha [B, 1, h, w], place on the plane [B, 2, h, w]
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emogene.render.code import CODE
from emogene.render.detail import read


@dataclass(frozen=True, kw_only=True)
class TorsoConfig:
    """Sizes of the torso model."""

    plane: int = 288
    """Edge of the canonical plane in texels; it covers the picture and a margin."""
    features: int = 8
    """Channels of the plane."""
    knots: int = 12
    """Edge of the displacement grid."""
    hidden: int = 48
    detail: int = 0
    """Edge, in texels, that a picture of fine structure (cloth, tie, neck) has on the plane; 0: none."""
    detail_top: int = 0
    """First row of it that is kept: above there is never any torso."""


MARGIN = 1.12
"""The plane covers [-MARGIN, MARGIN] of picture coordinates."""
REACH = 0.25
"""Largest displacement, in picture halves."""
N_JAW = 6
"""Leading landmark components shown to the torso: the chin pulls the neck."""
N_SHOULDERS = 6
"""Numbers of the affine map from picture to plane: identity's deviation row by row, shift."""
STILL = 1e-3
"""Least deviation of the shoulders that the network is shown as one."""
FOLLOW_PRIOR = 0.02
"""Ridge, as a share of frames, that keeps shoulders from following what moved them by chance."""


class Torso(nn.Module):
    """Canonical plane, displacement network and per-pixel decoder."""

    spread: Tensor
    follow: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, config: TorsoConfig, channels: int = 16) -> None:
        super().__init__()
        self.config = config
        self.channels = channels
        self.register_buffer("spread", torch.ones(N_SHOULDERS))
        self.register_buffer("follow", torch.zeros(7, N_SHOULDERS))
        self.register_buffer("low", torch.zeros(N_SHOULDERS))
        self.register_buffer("high", torch.zeros(N_SHOULDERS))
        condition = 6 + N_JAW + N_SHOULDERS
        self.plane = nn.Parameter(torch.randn(1, config.features, config.plane, config.plane) * 0.05)
        self.bend = nn.Sequential(
            nn.Linear(condition, config.hidden),
            nn.SiLU(),
            nn.Linear(config.hidden, config.hidden),
            nn.SiLU(),
            nn.Linear(config.hidden, 2 * config.knots**2),
        )
        last = self.bend[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=1e-3)
        nn.init.zeros_(last.bias)
        self.enter = nn.Conv2d(4 * config.features, config.hidden, 1)
        self.shade = nn.Linear(condition, config.hidden)
        self.leave = nn.Conv2d(config.hidden, channels + 1, 1)
        nn.init.zeros_(self.shade.weight)
        self.detail = nn.Parameter(torch.zeros(3, config.detail - config.detail_top, config.detail))

    @torch.no_grad()
    def fit(self, pose: Tensor, shoulders: Tensor) -> None:
        """Measure the shoulders' range and how they follow the head: pose [T, 6], shoulders [T, 6]."""
        self.spread.copy_(shoulders.std(0, unbiased=False).clamp(min=STILL))
        self.low.copy_(shoulders.quantile(0.01, 0))
        self.high.copy_(shoulders.quantile(0.99, 0))
        seen = F.pad(pose, (0, 1), value=1.0)
        ridge = torch.diag(torch.tensor([FOLLOW_PRIOR * len(pose)] * 6 + [0.0]))
        self.follow.copy_(torch.linalg.solve(seen.T @ seen + ridge, seen.T @ shoulders))

    def following(self, pose: Tensor) -> Tensor:
        """Shoulders [B, 6] that go with head poses [B, 6]."""
        return torch.clamp(F.pad(pose, (0, 1), value=1.0) @ self.follow, self.low, self.high)

    def forward(
        self, pose: Tensor, code: Tensor, shoulders: Tensor, xy: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Look the torso up at pixels.

        Args:
            pose: [B, 6] head pose relative to rest, about unit size.
            code: [B, 32] frame code.
            shoulders: [B, 6] affine maps, see N_SHOULDERS.
            xy: [B, 2h, 2w, 2] picture coordinates in [-1, 1], two per low-resolution pixel and axis.

        Returns:
            channels [B, 16, h, w] (rgb first, in 0..1, not multiplied by alpha), alpha [B, 1, h, w], and
            where the pixels lie on the plane, [B, 2, h, w] (x, y) in [-1, 1].
        """
        assert code.shape[1] == CODE
        condition = torch.cat([pose, code[:, :N_JAW], shoulders / self.spread], 1)
        samples = self._samples(condition, shoulders, xy)
        hidden = self.enter(F.pixel_unshuffle(read(self.plane[0], samples), 2))
        out = self.leave(F.relu(hidden + self.shade(condition)[:, :, None, None]))
        channels = torch.cat([torch.sigmoid(out[:, :3]), out[:, 3 : self.channels]], 1)
        place = F.avg_pool2d(samples.permute(0, 3, 1, 2), 2)
        return channels, torch.sigmoid(out[:, self.channels :]), place

    def fine(self, place: Tensor, scale: int, *, coarse: bool = False) -> Tensor:
        """The fine structure at places [B, 2, h, w]: [B, 3, scale h, scale w].

        Args:
            place: of ``forward``; interpolated between low pixels.
            scale: pixels per low pixel.
            coarse: for a picture of half the usual size: read it at half its own.
        """
        at = F.interpolate(place, scale_factor=scale, mode="bilinear", align_corners=False)
        picture = self.fine_picture(coarse=coarse)
        kept = 1.0 - self.config.detail_top / self.config.detail
        return read(picture, torch.stack([at[:, 0], (at[:, 1] - 1.0) / kept + 1.0], -1))

    def fine_picture(self, *, coarse: bool = False) -> Tensor:
        """The fine structure on the plane, [3, rows, columns], or half of both."""
        return F.avg_pool2d(self.detail, 2) if coarse else self.detail

    def _samples(self, condition: Tensor, shoulders: Tensor, xy: Tensor) -> Tensor:
        """Plane coordinates of the samples, [B, 2h, 2w, 2]."""
        knots = self.bend(condition).view(-1, 2, self.config.knots, self.config.knots)
        shift = F.grid_sample(
            knots,
            xy.expand(len(knots), -1, -1, -1),
            mode="bicubic",
            padding_mode="border",
            align_corners=True,
        )
        turn = torch.eye(2, device=xy.device) + shoulders[:, :4].view(-1, 2, 2)
        moved = torch.einsum("bhwi,bji->bhwj", xy.expand(len(turn), -1, -1, -1), turn)
        moved = moved + shoulders[:, None, None, 4:]
        result: Tensor = (moved + REACH * torch.tanh(shift).permute(0, 2, 3, 1)) / MARGIN
        return result


def picture_grid(height: int, width: int, *, device: torch.device | None = None) -> Tensor:
    """Picture coordinates of the torso's samples, [1, 2 height, 2 width, 2]."""
    y = (torch.arange(2 * height, device=device) + 0.5) / height - 1.0
    x = (torch.arange(2 * width, device=device) + 0.5) / width - 1.0
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]


def pose_features(camera_from_head: Tensor, rest: Tensor, spread: Tensor) -> Tensor:
    """Head poses [B, 4, 4] -> rotation vector and translation relative to rest, [B, 6].

    Args:
        camera_from_head: poses.
        rest: [4, 4] the person's rest pose.
        spread: [6] deviation of each number over the video.
    """
    relative = camera_from_head[:, :3, :3] @ rest[:3, :3].T
    trace = relative.diagonal(dim1=1, dim2=2).sum(1)
    angle = torch.acos(((trace - 1) / 2).clamp(-1.0, 1.0))
    axis = torch.stack(
        [
            relative[:, 2, 1] - relative[:, 1, 2],
            relative[:, 0, 2] - relative[:, 2, 0],
            relative[:, 1, 0] - relative[:, 0, 1],
        ],
        1,
    )
    # sin(angle)/angle -> 1 for the small rotations of a talking head; safe at zero.
    rotation = axis * (0.5 / torch.sinc(angle / math.pi).clamp(min=0.1))[:, None]
    shift = camera_from_head[:, :3, 3] - rest[:3, 3]
    return (torch.cat([rotation, shift], 1) / spread).clamp(-4.0, 4.0)
