"""What the motion network is trained to get right, on standardised offsets [B, T, 204].

The weighted square error and its velocity twin are the paper's; the spread term keeps amplitude, which
a square error alone shrinks by the correlation; the sync term asks a frozen expert.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from emogene.geometry.landmarks import BROWS, EYES, JAW, MOUTH, NOSE
from emogene.types import N_LANDMARKS

INNER_UPPER, INNER_LOWER = (61, 62, 63), (65, 66, 67)
CORNERS = (48, 54)


def landmark_weights(paper: bool = False) -> Tensor:
    """[204] loss weights: mouth 2, jaw 1, nose .3, brows .2, eyes 0; ``paper``: all one.

    Eyes are not speech: lids and gaze have a stream of their own. The jaw contour leaks head rotation
    and the brows hardly follow speech, so both count less than the mouth.
    """
    if paper:
        return torch.ones(3 * N_LANDMARKS)
    weights = torch.zeros(N_LANDMARKS)
    for region, weight in ((JAW, 1.0), (BROWS, 0.2), (NOSE, 0.3), (EYES, 0.0), (MOUTH, 2.0)):
        weights[region] = weight
    return weights.repeat_interleave(3)


def square_error(predicted: Tensor, true: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
    """Weighted mean square error over the frames of mask [B, T]."""
    error = ((predicted - true) ** 2 * weights).mean(-1)
    return (error * mask).sum() / mask.sum().clamp_min(1)


def velocity_error(predicted: Tensor, true: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
    """``square_error`` of frame-to-frame differences, where both frames count."""
    both = mask[:, 1:] * mask[:, :-1]
    return square_error(predicted.diff(dim=1), true.diff(dim=1), weights, both)


def mouth_measures(offsets: Tensor) -> Tensor:
    """Offsets [B, T, 204] in canonical units -> change of opening, width and protrusion [B, T, 3]."""
    points = offsets.reshape(*offsets.shape[:-1], N_LANDMARKS, 3)
    opening = points[..., INNER_UPPER, 1].mean(-1) - points[..., INNER_LOWER, 1].mean(-1)
    width = points[..., CORNERS[1], 0] - points[..., CORNERS[0], 0]
    protrusion = points[..., 48:68, 2].mean(-1)
    return torch.stack([opening, width, protrusion], dim=-1)


def measure_losses(predicted: Tensor, true: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """How well the mouth's measures follow, whatever their size, and how wrong their size is.

    Args:
        predicted, true: measures [B, T, 3]; mask: [B, T].

    Returns:
        one minus their correlation, and the squared logarithm of the ratio of their velocities' root mean
        squares; both over the whole batch, so that quiet windows do not blow up.
    """
    weight = mask[..., None]
    total = weight.sum().clamp_min(1)
    p = predicted - (predicted * weight).sum((0, 1)) / total
    t = true - (true * weight).sum((0, 1)) / total
    covariance = (p * t * weight).sum((0, 1))
    power_p, power_t = (p**2 * weight).sum((0, 1)), (t**2 * weight).sum((0, 1))
    correlation = covariance / (power_p * power_t).clamp_min(1e-12).sqrt()
    both = (mask[:, 1:] * mask[:, :-1])[..., None]
    speed_p, speed_t = (((x.diff(dim=1) * both) ** 2).sum((0, 1)) for x in (predicted, true))
    # A measure that does not move (silence only) has neither correlation nor spread.
    moving = (power_t > 1e-4 * total).float()
    spread = _half_log_ratio(speed_p, speed_t) ** 2 + _half_log_ratio(power_p, power_t) ** 2
    count = moving.sum().clamp_min(1)
    return ((1 - correlation) * moving).sum() / count, (spread * moving).sum() / count


def _half_log_ratio(power: Tensor, true_power: Tensor) -> Tensor:
    """Logarithm of a ratio of root mean squares, bounded where there is no motion at all."""
    return 0.5 * ((power + 1e-4) / (true_power + 1e-4)).log()


def sync_loss(speech: Tensor, mouth: Tensor) -> Tensor:
    """1 - cosine of the expert's embeddings [B, N, E] of the sound and of the predicted mouth."""
    return (1 - F.cosine_similarity(speech, mouth, dim=-1)).mean()
