"""The network's parts: causality is what they say, the flow inverts, every recipe takes a step."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from emogene.motion.condition import coarse_pitch
from emogene.motion.layers import Flow, TimeConv
from emogene.motion.losses import landmark_weights, measure_losses, mouth_measures, velocity_error
from emogene.motion.vae import RECIPES, MotionVae, paper, standard, tiny


@pytest.mark.parametrize("stride, right", [(1, 0), (1, 2), (4, 0), (4, 5)])
def test_time_conv_sees_what_it_says(stride: int, right: int) -> None:
    torch.manual_seed(0)
    conv = TimeConv(1, 1, 8, right=right, stride=stride)
    x = torch.zeros(1, 32, 1, requires_grad=True)
    y = conv(x)
    assert y.shape[1] == 32 // stride
    (gradient,) = torch.autograd.grad(y[0, 3, 0], x)
    seen = gradient[0, :, 0].nonzero().flatten()
    assert seen.max() == 3 * stride + right
    assert seen.min() == max(0, 3 * stride + right - 7)


def test_flow_inverts() -> None:
    torch.manual_seed(0)
    flow = Flow(4, 3, couplings=3, hidden=8, kernel=3, layers=2, right=0)
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    z, cond = torch.randn(2, 9, 4), torch.randn(2, 9, 3)
    moved = flow(z, cond)
    assert not torch.allclose(moved, z)
    assert torch.allclose(flow.inverse(moved, cond), z, atol=1e-4)


def small(recipe: str) -> MotionVae:
    torch.manual_seed(0)
    config = dataclasses.replace(RECIPES[recipe](), feature_dim=8, channels=16, hidden=16, flow_hidden=8)
    return MotionVae(config)


@pytest.mark.parametrize("recipe", ["tiny", "standard", "paper"])
def test_every_recipe_takes_a_step(recipe: str) -> None:
    network = small(recipe)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    features, prosody, amplitude = torch.randn(2, 48, 8), torch.rand(2, 48, 3), torch.ones(2)
    motion = 0.1 * torch.randn(2, 24, 204)
    losses = []
    for _ in range(4):
        g = network.condition(features, prosody, amplitude)
        posterior = network.encode(motion, g)
        assert posterior.z.shape == (2, 6, network.config.latent)
        loss = ((network.decode(posterior.z, g) - motion) ** 2).mean() + 0.1 * network.divergence(
            posterior, g
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_paper_has_the_published_widths() -> None:
    network = MotionVae(paper())
    assert network.condition.speech[0].weight.shape == (128, 3 * 1024)
    assert network.condition.pitch_embedding.weight.shape == (300, 128)
    assert network.condition.blink_embedding.weight.shape == (2, 128)
    assert network.enter.weight.shape == (256, 8 * 204)
    assert network.moments.out_features == 32
    assert len(network.encoder.convs) == 8 and len(network.decoder.convs) == 4
    assert len(network.flow.couplings) == 4 and len(network.flow.couplings[0].wavenet.convs) == 4
    assert network.expand.weight.shape == (4 * 256, 16)


@pytest.mark.parametrize("make", [tiny, standard])
def test_streaming_reach_is_what_it_says(make) -> None:
    torch.manual_seed(0)
    network = MotionVae(make()).eval()
    features = torch.randn(1, 400, network.config.feature_dim, requires_grad=True)
    g = network.condition(features, torch.zeros(1, 400, 3), torch.ones(1))
    y = network.decode(network.prior(torch.zeros(1, 50, network.config.latent), g), g)
    (gradient,) = torch.autograd.grad(y[0, 123].sum(), features)
    seen = gradient[0].abs().sum(-1).nonzero().flatten() // 2
    assert seen.max() - 123 == network.look_ahead_frames == 6
    assert 123 - seen.min() <= network.context_frames <= 104


def test_coarse_pitch_bins() -> None:
    prosody = torch.tensor([[0.0, 1.0, 0.5], [0.0, 0.0, 0.5], [1.0, 1.0, 0.5], [-9.0, 1.0, 0.5]])
    median, unvoiced, octave, low = coarse_pitch(prosody).tolist()
    assert unvoiced == 0 and low == 1 and 1 < median < octave < 256


def test_losses_measure_the_mouth() -> None:
    offsets = torch.zeros(1, 5, 68, 3)
    offsets[:, :, 65:68, 1] = -torch.arange(5.0)[None, :, None] * 0.1
    flat = offsets.flatten(2)
    mask = torch.ones(1, 5)
    measures = mouth_measures(flat)
    assert torch.allclose(measures[0, :, 0], torch.arange(5.0) * 0.1, atol=1e-6)
    far, spread = measure_losses(measures[..., :1] * 0.5, measures[..., :1], mask)
    assert far < 1e-5 and spread == pytest.approx(2 * math.log(2) ** 2, abs=0.02)
    assert velocity_error(flat, flat, landmark_weights(), mask) == 0
    assert landmark_weights()[36 * 3] == 0
