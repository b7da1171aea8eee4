"""Detail: sharp pictures laid on the head, read at full resolution where the field found its surface.

The field is asked on a grid of 128 x 128 rays, so hair, skin, brows and teeth fall between its rays. Here
each ray's mean depth says where on the neutral head it ended; between rays that place is interpolated, and a
flat texture (the head seen from the front, parallel projection) is read at every pixel of the large picture.
The decoder gives a gain per pixel and layer, so that detail can come and go with expression
(deferred neural textures, Thies et al. 2019, on the field's own geometry). About eyes and mouth the first
layer is several pictures, mixed by the frame's own lids and lips: shut lips and open ones; open lids, shut
ones and some between. An iris has no place on a shut lid, nor teeth on shut lips, and lids on their way are
not the mean of both ends: they take their edge with them. Irises are pictures of their own, which move with
the gaze and go as the lids shut.

surface place [B, 2, h, w] in [-1, 1] -> detail [B, 3 layers, 4h, 4w]
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emogene.geometry.landmarks import lip_opening

SMOOTHING = 3
"""Low pixels over which the place is averaged: depth may be noisy, a face is smooth."""
FAINT = 1e-3


@dataclass(frozen=True, kw_only=True)
class DetailConfig:
    """Sizes of the detail texture."""

    texels: int = 448
    """Edge of the texture, which covers the head's box: .9 to 1.1 texels per pixel of a 512 px portrait."""
    layers: int = 2
    """Pictures that are laid over each other with gains of their own; 0: none. The second one only serves
    training, see ``first_layer``."""
    boxes: tuple[tuple[int, int, int, int], ...] = ()
    """Left, top, width and height (even texels) about the person's right eye, left eye and mouth."""
    opening: tuple[float, float] = (0.0, 1.0)
    """Lip opening, canonical units, below which the mouth is shut and above which it is open."""
    iris_reach: float = 0.0
    """Texels that an iris moves per sine of its angle; 0: irises lie still, as in portraits made earlier."""
    lids: tuple[float, float] = (0.75, 0.3)
    """Eye openness above which lids are open and below which they are shut."""
    half_lids: int = 0
    """Pictures that eyes have on the way from open to shut lids; 0: they show the mean of both ends."""
    iris_fade: float = 2.0
    """Power of what is left open that shows of an iris: under falling lids its rim goes first."""


EYE_BOXES = 2
"""The first boxes are eyes, the next one is the mouth."""
LIP_TAPS = (-1 / 16, 4 / 16, 10 / 16, 4 / 16, -1 / 16)
"""What a finished mouth is smoothed by from left to right: teeth instead of bristles. Combs of two texels
vanish, three quarters of waves of four stay (Shapiro 1975); a Gaussian of .7 texels leaves half of those."""


class Detail(nn.Module):
    """The textures of one person."""

    def __init__(self, config: DetailConfig) -> None:
        super().__init__()
        self.config = config
        self.texture = nn.Parameter(torch.zeros(1, 3 * config.layers, config.texels, config.texels))
        self.other = nn.ParameterList(torch.zeros(3, h, w) for _, _, w, h in config.boxes if config.layers)
        eyes = config.boxes[:EYE_BOXES] if config.iris_reach and config.layers else ()
        self.iris = nn.ParameterList(torch.zeros(3, h, w) for _, _, w, h in eyes)
        halves = config.boxes[:EYE_BOXES] * config.half_lids if config.layers else ()
        self.halfway = nn.ParameterList(torch.zeros(3, h, w) for _, _, w, h in halves)

    def pictures(self) -> list[nn.Parameter]:
        """All pictures that are laid over the texture."""
        return [*self.other, *self.halfway, *self.iris]

    def stages(self, index: int) -> list[int]:
        """Which of ``halfway`` box ``index`` goes through, from the first one after the usual picture."""
        return list(range(index, len(self.halfway), EYE_BOXES)) if index < EYE_BOXES else []

    def mix(self, offsets: Tensor, neutral: Tensor, eyes: Tensor) -> Tensor:
        """What a frame's pictures are mixed by, [B, boxes + 2].

        How far lids are shut and lips are open, 0..1, then how far irises are moved, texels (x, y).

        Args:
            offsets: [B, 68, 3] landmark offsets from neutral.
            neutral: [68, 3].
            eyes: [B, 4] eye stream.
        """
        if not self.config.boxes:
            return eyes.new_zeros(len(eyes), 2)
        opened, closed = self.config.lids
        shut = (opened - eyes[:, [1, 0]]) / (opened - closed)
        low, high = self.config.opening
        gap = torch.from_numpy(lip_opening((offsets + neutral).cpu().numpy())).to(eyes)
        amounts = torch.cat([shut, (gap[:, None] - low) / (high - low)], 1).clamp(0.0, 1.0)
        # The texture's x runs with the head's, to the person's left; its y runs down.
        gaze = torch.sin(eyes[:, 2:4]) * eyes.new_tensor([1.0, -1.0])
        return torch.cat([amounts, self.config.iris_reach * gaze], 1)

    def forward(
        self, place: Tensor, scale: int, mix: Tensor | None = None, *, coarse: bool = False
    ) -> Tensor:
        """Read the textures.

        Args:
            place: [B, 2, h, w] texture coordinates (x, y) in [-1, 1] at low resolution.
            scale: pixels per low pixel.
            mix: [B, boxes + 2]; None: open lids, shut lips, no irises.
            coarse: for a picture of half the usual size: read the textures at half theirs.

        Returns:
            [B, 3 layers, scale h, scale w].
        """
        if not self.config.layers:
            height, width = place.shape[2:]
            return place.new_zeros(len(place), 0, scale * height, scale * width)
        texture: Tensor = self.texture
        boxes = self.config.boxes
        others, halves, irises = list(self.other), list(self.halfway), list(self.iris)
        if coarse:
            texture, boxes = F.avg_pool2d(texture, 2), _halved(boxes)
            others, halves, irises = ([_pooled(part) for part in kind] for kind in (others, halves, irises))
        fine = F.interpolate(place, scale_factor=scale, mode="bilinear", align_corners=False)
        at = fine.permute(0, 2, 3, 1)
        shown = read(texture[0], at)
        if mix is None or not others:
            return shown
        moves = mix[:, len(boxes) :] / (2 if coarse else 1)
        # Read by themselves: a mixed texture per frame is large (steps took 1.4 times the CPU time).
        first = shown[:, :3]
        for index, (box, other) in enumerate(zip(boxes, others, strict=True)):
            inside, amount = _inside(at, box, texture.shape[-1]), mix[:, index]
            seen = (inside.abs() < 1).all(-1).flatten(1).any(1)
            way = [*(halves[stage] for stage in self.stages(index)), other]
            laid = [
                (part, share, inside) for part, share in zip(way, way_shares(amount, len(way)), strict=True)
            ]
            if index < len(irises):
                away = moves[:, None, None] * (2 / moves.new_tensor(box[2:]))
                laid.append((irises[index], (1 - amount) ** self.config.iris_fade, inside - away))
            for picture, share, where in laid:
                rows = (seen & (share > 0)).nonzero()[:, 0]
                if len(rows):
                    change = read(picture, where[rows], "zeros")
                    first = first.index_add(0, rows, share[rows, None, None, None] * change)
        return torch.cat([first, shown[:, 3:]], 1)


def way_shares(amount: Tensor, steps: int) -> list[Tensor]:
    """Shares of the pictures on the way from the usual one, by how far lids are shut (or lips open), 0..1.

    They lie evenly on it, the last one at 1; between two of them the picture is a mean of both.
    """
    return [(1 - (steps * amount - step).abs()).clamp(min=0) for step in range(1, steps + 1)]


def read(texture: Tensor, at: Tensor, padding: str = "border") -> Tensor:
    """Texture [C, S, S'] at coordinates [B, H, W, 2] in [-1, 1]: [B, C, H, W]."""
    batch, height, width = at.shape[:3]
    tall = at.reshape(1, batch * height, width, 2)
    values = F.grid_sample(texture[None], tall, padding_mode=padding, align_corners=False)
    return values.view(-1, batch, height, width).transpose(0, 1)


def _inside(at: Tensor, box: tuple[int, int, int, int], texels: int) -> Tensor:
    """Coordinates on a texture of edge ``texels`` -> on its box."""
    x, y, width, height = box
    corner, size = at.new_tensor([x, y]), at.new_tensor([width, height])
    return ((at + 1) * (texels / 2) - corner) * (2 / size) - 1


def _pooled(texture: Tensor) -> Tensor:
    return F.avg_pool2d(texture, 2)


def _halved(boxes: tuple[tuple[int, int, int, int], ...]) -> tuple[tuple[int, int, int, int], ...]:
    return tuple((x // 2, y // 2, width // 2, height // 2) for x, y, width, height in boxes)


def first_layer(detail: Detail, contrast: float) -> Detail:
    """The first layer alone, with more contrast.

    Asked for the video's amount of fine structure, training fills what has no start in the pictures with
    combs of two pixels. They gather in the second layer, which may then go. In the mouth, where the rest
    makes bristles of teeth, it is smoothed away from left to right.
    """
    kept, taps = Detail(replace(detail.config, layers=1)), torch.tensor(LIP_TAPS)
    with torch.no_grad():
        kept.texture.copy_(contrast * detail.texture[:, :3])
        for own, other in zip(kept.pictures(), detail.pictures(), strict=True):
            own.copy_(contrast * other)
        if len(kept.other) > EYE_BOXES:
            x, y, width, height = kept.config.boxes[EYE_BOXES]
            part = (slice(None), slice(None), slice(y, y + height), slice(x, x + width))
            kept.texture[part] = _filtered(kept.texture[part], taps)
            kept.other[EYE_BOXES].copy_(_filtered(kept.other[EYE_BOXES], taps))
    return kept


def _filtered(texture: Tensor, taps: Tensor) -> Tensor:
    """A picture [..., h, w] under an odd number of taps from left to right."""
    rows, reach = texture.reshape(-1, 1, texture.shape[-1]), len(taps) // 2
    smooth = F.conv1d(F.pad(rows, (reach, reach), mode="replicate"), taps.to(rows).view(1, 1, -1))
    return smooth.view(texture.shape)


def coarse(detail: Detail) -> Detail:
    """Half the texels, for pictures of half the size."""
    config = detail.config
    boxes, reach = _halved(config.boxes), config.iris_reach / 2
    half = Detail(replace(config, texels=config.texels // 2, boxes=boxes, iris_reach=reach))
    with torch.no_grad():
        half.texture.copy_(F.avg_pool2d(detail.texture, 2))
        for own, other in zip(half.pictures(), detail.pictures(), strict=True):
            own.copy_(_pooled(other))
    return half


def surface_distance(rays_o: Tensor, rays_d: Tensor, opacity: Tensor, depth: Tensor) -> Tensor:
    """Along rays [..., 3] where their surface lies on average, [...] in cube lengths."""
    nearest = ((0.5 - rays_o) * rays_d).sum(-1)
    return nearest + depth / opacity.clamp(min=FAINT)


def surface_place(rays_o: Tensor, rays_d: Tensor, opacity: Tensor, depth: Tensor, warp: Tensor) -> Tensor:
    """Where on the neutral head the rays of pictures end, as texture coordinates.

    Args:
        rays_o: [B, h, w, 3] origins in unit-cube coordinates.
        rays_d: [B, h, w, 3] unit directions.
        opacity: [B, h, w] of the field.
        depth: [B, h, w] opacity-weighted distance past the point nearest to the cube's centre.
        warp: [B, G, G, G, 3] displacements to the neutral head.

    Returns:
        [B, 2, h, w] in [-1, 1], y downwards; smoothed, and continued a little beyond the silhouette.
    """
    length = surface_distance(rays_o, rays_d, opacity, depth)
    points = (rays_o + length[..., None] * rays_d).clamp(0.0, 1.0)
    grid = (points * 2 - 1)[:, None]
    moved = F.grid_sample(warp.permute(0, 4, 1, 2, 3), grid, padding_mode="border", align_corners=True)[
        :, :, 0
    ]
    neutral = (points.permute(0, 3, 1, 2) + moved).clamp(0.0, 1.0)
    weight = opacity[:, None] + FAINT
    pad = SMOOTHING // 2
    near = F.avg_pool2d(
        F.pad(torch.cat([neutral[:, :2] * weight, weight], 1), (pad,) * 4, mode="replicate"), SMOOTHING, 1
    )
    xy = near[:, :2] / near[:, 2:]
    return torch.stack([xy[:, 0] * 2 - 1, 1 - xy[:, 1] * 2], 1)


def add_detail(picture: Tensor, gains: Tensor, detail: Tensor) -> Tensor:
    """Enlarge the decoder's picture and lay the detail over it.

    Args:
        picture: [B, 4, 2h, 2w] premultiplied rgb and alpha.
        gains: [B, layers, h, w] at low resolution.
        detail: [B, 3 layers, H, W].

    Returns:
        [B, 4, H, W].
    """
    return laid_over(enlarged(picture, detail), shown_detail(gains, detail))


def enlarged(picture: Tensor, detail: Tensor) -> Tensor:
    """The decoder's picture at the detail's size, [B, 4, H, W]."""
    return F.interpolate(picture, detail.shape[2:], mode="bilinear", align_corners=False)


def shown_detail(gains: Tensor, detail: Tensor) -> Tensor:
    """The layers under their gains, [B, 3, H, W]."""
    batch, layers = gains.shape[:2]
    size = detail.shape[2:]
    if not layers:
        return detail.new_zeros(batch, 3, *size)
    fine = F.interpolate(gains, size, mode="bilinear", align_corners=False)
    return (fine[:, :, None] * detail.view(batch, layers, 3, *size)).sum(1)


def laid_over(large: Tensor, shown: Tensor) -> Tensor:
    """Detail [B, 3, H, W] over a picture [B, 4, H, W]."""
    return torch.cat([large[:, :3] + shown, large[:, 3:]], 1)
