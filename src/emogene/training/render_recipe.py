"""How a portrait is trained: sizes, schedule and loss weights, and the recipes that set them."""

from __future__ import annotations

from dataclasses import dataclass, field

from emogene.render.decoder import DecoderConfig
from emogene.render.field import FieldConfig
from emogene.render.torso import TorsoConfig


@dataclass(frozen=True, kw_only=True)
class RenderRecipe:
    """How a portrait is trained."""

    low: int = 128
    """Edge of the feature picture; the portrait is made at four times that."""
    max_frames: int = 2000
    hold_out: bool = True
    """Leave the last 1/11 of the frames for testing."""
    register_steps: int = 600
    """Of a rough field that finds what tracked poses are off by (``render_register``); 0: believe them."""
    warmup_steps: int = 8400
    """Of the field after that: 3000 in all give 33.6 dB of the head, 9000 34.3, 18 000 no more (held out)."""
    warmup_rays: int = 8192
    warmup_frames: int = 32
    torso_steps: int = 600
    decoder_steps: int = 3600
    """12 000 make detail a third stronger at a little less error."""
    patch: int = 40
    patches: int = 4
    """Patches per step, each of its own frame."""
    focus: tuple[float, float, float, float] = (0.36, 0.16, 0.33, 0.15)
    """Share of patches on mouth, eyes, head, torso."""
    draft_share: float = 0.06
    """Share of steps at the draft quality's grid."""
    step: float = 1 / 72
    """Ray sample distance, cube lengths."""
    edge_weight: float = 0.25
    texture_weight: float = 0.1
    structure_weight: float = 0.2
    """Of one minus SSIM: at .1 head 31.60 -> 31.66 dB, SSIM .9286 -> .9298 after 2000 steps."""
    perceptual_weight: float = 0.0
    perceptual_every: int = 2
    """Steps between uses of the perceptual loss, which costs as much as the field."""
    critic_weight: float = 0.02
    critic_start: float = 1.0
    """Share of the decoder's steps after which the critic takes part; 1: never. It sharpens (mouth from
    .13 to .8 of the real frames) but in a short training it combs teeth and lids with stripes."""
    field_rate: float = 1e-2
    network_rate: float = 2e-3
    decoder_rate: float = 1e-3
    detail_rate: float = 3e-4
    contrast: float = 1.4
    """Of the finished detail, relative to what training made of it."""
    trust: float = 0.5
    """How far detail is faded where the pictures do not bear it out (``render_detail.weigh_detail``)."""
    mouth_trust: float = 0.5
    """Share of it about the mouth. At .25 a mouth has .73 of the real sharpness instead of .64, for .1 dB."""
    most_lip_gain: float = 1.5
    """Cap of the gain that makes lips open as far as in the video (``render_lips``); 1: leave them."""
    head: FieldConfig = field(default_factory=FieldConfig)
    torso: TorsoConfig = field(default_factory=lambda: TorsoConfig(detail=640))
    decoder: DecoderConfig = field(default_factory=lambda: DecoderConfig(torso=True))
    checkpoint_every: int = 500
    preview_every: int = 1000
    seed: int = 0


def tiny() -> RenderRecipe:
    """Seconds: for tests."""
    return RenderRecipe(
        low=32,
        max_frames=64,
        register_steps=0,
        warmup_steps=60,
        warmup_rays=512,
        warmup_frames=4,
        torso_steps=60,
        decoder_steps=60,
        patch=16,
        patches=1,
        step=1 / 32,
        critic_start=0.5,
        perceptual_weight=0.0,
        most_lip_gain=1.0,
        head=FieldConfig(levels=6, log2_table=11, finest=64, hidden=32, occupancy=32),
        torso=TorsoConfig(plane=64, knots=6, hidden=24, detail=80),
        decoder=DecoderConfig(width=24, depth=2, torso=True),
        checkpoint_every=30,
        preview_every=60,
    )


def standard() -> RenderRecipe:
    """About a quarter of an hour on two cores."""
    return RenderRecipe()


def high() -> RenderRecipe:
    """About half an hour on two cores: stronger detail, more frames; see docs/portrait.md."""
    return RenderRecipe(decoder_steps=12_000, max_frames=4500, contrast=1.6, mouth_trust=0.25)


def paper() -> RenderRecipe:
    """Sizes and weights near RAD-NeRF with super-resolution as EmoGene used it (paper 1.7); days on a CPU."""
    return RenderRecipe(
        max_frames=13_000,
        warmup_steps=200_000,
        warmup_rays=65_536,
        decoder_steps=200_000,
        patch=64,
        patches=1,
        step=1 / 128,
        texture_weight=0.0,
        structure_weight=0.0,
        edge_weight=0.0,
        perceptual_weight=0.05,
        critic_start=1.0,
        field_rate=5e-3,
        network_rate=5e-4,
        head=FieldConfig(log2_table=16, finest=2048, occupancy=128),
        decoder=DecoderConfig(width=128, depth=4, torso=True),
    )


RECIPES = {"tiny": tiny, "standard": standard, "high": high, "paper": paper}
