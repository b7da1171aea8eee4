"""The renderer's network: head field, torso, decoder and frame code of one person, trained together.

``PortraitModel`` holds everything that is learned or measured from the video; ``portrait.Portrait``
renders with it, ``training.render`` trains it. Both build the low-resolution composite here, so what is
trained is what is rendered.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emogene.errors import FormatError
from emogene.render.code import FrameCode
from emogene.render.decoder import Decoder, DecoderConfig
from emogene.render.detail import Detail, DetailConfig
from emogene.render.field import FieldConfig, HeadField
from emogene.render.rays import HeadBox
from emogene.render.torso import Torso, TorsoConfig, pose_features
from emogene.render.warp import Warp, WarpConfig
from emogene.types import Camera, FloatArray


@dataclass(frozen=True, kw_only=True)
class PortraitConfig:
    """Sizes of the renderer and the space it lives in."""

    camera: Camera
    """The view at full size; pictures are square."""
    box: HeadBox = field(default_factory=HeadBox)
    low: int = 128
    """Edge of the standard quality's feature picture; the decoder makes four times that."""
    step: float = 1 / 64
    """Distance of samples along rays when rendering, in cube lengths."""
    head: FieldConfig = field(default_factory=FieldConfig)
    warp: WarpConfig = field(default_factory=WarpConfig)
    torso: TorsoConfig = field(default_factory=TorsoConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    detail: DetailConfig = field(default_factory=DetailConfig)

    def to_json(self) -> dict[str, Any]:
        """Plain values for config.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> PortraitConfig:
        """Read what ``to_json`` wrote; unknown or missing names are an error."""
        parts = {
            "camera": Camera,
            "box": HeadBox,
            "head": FieldConfig,
            "warp": WarpConfig,
            "torso": TorsoConfig,
            "decoder": DecoderConfig,
            "detail": DetailConfig,
        }
        try:
            values = {
                name: parts[name](**value) if name in parts else value for name, value in content.items()
            }
            box, detail = values["box"], values["detail"]
            values["box"] = HeadBox(tuple(box.center), box.half_size)
            values["detail"] = replace(
                detail,
                boxes=tuple(map(tuple, detail.boxes)),
                opening=tuple(detail.opening),
                lids=tuple(detail.lids),
            )
            return cls(**values)
        except (TypeError, ValueError, KeyError) as error:
            raise FormatError(f"this portrait's config.json does not fit this emogene ({error})") from None


class PortraitModel(nn.Module):
    """All learned parts and the person's measured constants."""

    rest_pose: Tensor
    pose_spread: Tensor
    neutral: Tensor
    torso_top: Tensor
    lip_gain: Tensor

    def __init__(self, config: PortraitConfig, neutral_cano: FloatArray) -> None:
        """Make an untrained model.

        Args:
            config: sizes.
            neutral_cano: [68, 3] the person's neutral face.
        """
        super().__init__()
        self.config = config
        self.head = HeadField(config.head)
        self.code = FrameCode()
        self.torso = Torso(config.torso)
        self.decoder = Decoder(config.decoder)
        self.detail = Detail(config.detail)
        self.register_buffer("rest_pose", torch.eye(4))
        self.register_buffer("pose_spread", torch.ones(6))
        # Share of the picture's height above which there never is any torso: nothing to compute there.
        self.register_buffer("torso_top", torch.zeros(1))
        # How much farther lips must be asked to open than they shall be seen to (``lips.opened``).
        self.register_buffer("lip_gain", torch.ones(1))
        self.register_buffer("neutral", torch.from_numpy(np.array(neutral_cano, np.float32)))
        self.warp = Warp(neutral_cano, config.box, config.warp)

    def fit(
        self,
        offsets: FloatArray,
        eyes: FloatArray,
        poses: FloatArray,
        shoulders: FloatArray,
        torso_top: float = 0.0,
    ) -> None:
        """Measure the constants on training frames.

        Args:
            offsets: [T, 68, 3] landmark offsets from neutral.
            eyes: [T, 4] eye stream.
            poses: [T, 4, 4] camera_from_head.
            shoulders: [T, 6] affine maps of the torso.
            torso_top: share of the picture's height above which there is no torso.
        """
        self.torso_top.fill_(torso_top)
        mid = poses[np.argmin(((poses - np.median(poses, axis=0)) ** 2).sum((1, 2)))]
        self.rest_pose.copy_(torch.from_numpy(np.array(mid, np.float32)))
        relative = pose_features(torch.from_numpy(np.array(poses)), self.rest_pose, torch.ones(6))
        self.pose_spread.copy_(relative.std(0, unbiased=False).clamp(min=0.02))
        features = self.pose_features(torch.from_numpy(np.array(poses)))
        self.code.fit(offsets, eyes, features.numpy())
        self.torso.fit(features, torch.from_numpy(np.array(shoulders, np.float32)))

    def fine(self, place: Tensor, scale: int, mix: Tensor | None = None, *, coarse: bool = False) -> Tensor:
        """Detail of head and torso that the decoder's gains are for, [B, 3 gains, scale h, scale w].

        Args:
            place: [B, 4, h, w] on the textures of head and torso (``inference.PixelGrid.small``).
            scale, mix, coarse: as for ``Detail.forward``.
        """
        head: Tensor = self.detail(place[:, :2], scale, mix, coarse=coarse)
        if not self.config.decoder.torso:
            return head
        return torch.cat([head, self.torso.fine(place[:, 2:], scale, coarse=coarse)], 1)

    def pose_features(self, camera_from_head: Tensor) -> Tensor:
        """[B, 4, 4] -> [B, 6] of about unit size."""
        return pose_features(camera_from_head, self.rest_pose, self.pose_spread)


def layered(head: Tensor, opacity: Tensor, torso: Tensor, alpha: Tensor) -> Tensor:
    """Lay the head over the torso.

    Args:
        head: [B, 16, h, w] premultiplied channels of the field.
        opacity: [B, 1, h, w] of the head.
        torso: [B, 16, h, w] channels of the torso, not premultiplied.
        alpha: [B, 1, h, w] of the torso.

    Returns:
        [B, 18, h, w] premultiplied channels, the head's and the torso's visible alpha.
    """
    visible = (1 - opacity) * alpha
    return torch.cat([head + visible * torso, opacity, visible], 1)
