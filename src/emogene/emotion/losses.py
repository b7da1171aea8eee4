"""Losses of Motion-to-Emotion: the displacement, its velocity, and lips that shut when speech shuts them."""

from __future__ import annotations

import torch
from torch import Tensor

from emogene.geometry.landmarks import EYES, JAW, MOUTH
from emogene.types import N_LANDMARKS

INNER_UPPER, INNER_LOWER = (61, 62, 63), (67, 66, 65)
"""Inner-lip landmarks one above the other."""
SHUT_GAP = 0.02
"""Inner lips nearer than this (canonical units, about 2 mm) count as shut."""


def point_weights() -> Tensor:
    """[68] importance of each landmark: lips first, the jaw contour last (trackers place it loosely)."""
    weights = torch.ones(N_LANDMARKS)
    weights[MOUTH] = 2.0
    weights[JAW] = 0.5
    return weights


def displacement_loss(predicted: Tensor, true: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean square error of [B, T, 68, 3] in units of (0.05 canonical units) squared.

    ``weights`` [B, T, 68] is 0 where the truth is unknown (lids during a blink).
    """
    square = ((predicted - true) / 0.05).square().sum(-1)
    return (square * weights).sum() / weights.sum().clamp(min=1.0)


def velocity_loss(predicted: Tensor, true: Tensor, weights: Tensor) -> Tensor:
    """The same on frame differences: no flicker, and transitions as smooth as the truth's."""
    both_known = weights[:, 1:] * (weights[:, :-1] > 0)
    return displacement_loss(predicted.diff(dim=1), true.diff(dim=1), both_known)


def lip_gaps(points: Tensor) -> Tensor:
    """Vertical gaps [..., 3] of the inner-lip pairs of [..., 68, 3]."""
    return points[..., INNER_UPPER, 1] - points[..., INNER_LOWER, 1]


def closure_loss(predicted: Tensor, true: Tensor, neutral: Tensor) -> Tensor:
    """Penalise lips that the emotion pulls further apart than the truth in frames where the truth is shut.

    Args:
        predicted: [B, T, 68, 3] emotional landmarks. true: the same of the recording.
        neutral: [B, T, 68, 3] landmarks without emotion, which tell how far open the lips are anyway.
    """
    gap, goal = lip_gaps(predicted), lip_gaps(true)
    shut = torch.sigmoid((SHUT_GAP - torch.minimum(goal, lip_gaps(neutral))) / (0.25 * SHUT_GAP))
    return (shut * torch.relu(gap - goal) / 0.02).square().mean() + ((gap - goal) / 0.05).square().mean()


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor, free: float = 0.05) -> Tensor:
    """KL of a diagonal Gaussian [B, Z] from N(0, 1); each dimension may use ``free`` nats for nothing."""
    each = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance)
    return each.mean(0).clamp(min=free).sum()


def known_points(eye_open: Tensor) -> Tensor:
    """Weights [B, T, 68]: ``point_weights``, but no lids while a blink hides what the emotion does to them.

    ``eye_open`` [B, T, 2] is the openness of the neutral take.
    """
    weights = point_weights().to(eye_open.device).expand(*eye_open.shape[:2], -1).clone()
    awake = (eye_open.amin(-1) > 0.8).float()
    weights[..., EYES] *= awake[..., None]
    return weights
