"""Decoded frames of any pixel format -> 8-bit sRGB [H, W, 3].

Phones record HDR (HLG, or PQ) in BT.2020 primaries; read as plain video it looks grey and green. Such
frames are brought to linear light, tone-mapped and converted to BT.709 primaries.
Sources: ITU-R BT.2100 (transfer functions), BT.2087 (primaries).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from emogene.types import ByteArray, FloatArray

HD_HEIGHT = 720
"""Untagged video of at least this height is BT.709, below BT.601: what players assume."""
PQ_PEAK = 1000.0 / 203.0
"""Brightest light kept of PQ, in units of paper white (203 cd/m2)."""


def to_rgb(frame: Any, width: int, height: int) -> ByteArray:
    """Convert one PyAV frame to contiguous rgb of the given size."""
    from av.video.reformatter import Colorspace, ColorTrc, Interpolation

    # 2 is "unspecified", 0 would be rgb.
    space = frame.colorspace
    if int(space) == 2 and "rgb" not in frame.format.name:
        space = Colorspace.ITU709 if height >= HD_HEIGHT else Colorspace.ITU601
    source = {"src_colorspace": space} if int(space) != 0 else {}
    transfer = int(frame.color_trc)
    is_hdr = transfer in (int(ColorTrc.SMPTE2084), int(ColorTrc.ARIB_STD_B67))
    picture: Any = frame.reformat(
        width=width,
        height=height,
        format="rgb48le" if is_hdr else "rgb24",
        interpolation=Interpolation.BICUBIC,
        **source,
    ).to_ndarray()
    if is_hdr:
        picture = tone_mapped(picture, is_pq=transfer == int(ColorTrc.SMPTE2084))
    return np.ascontiguousarray(picture)


def tone_mapped(picture: Any, *, is_pq: bool) -> ByteArray:
    """BT.2100 PQ or HLG signal, uint16 [H, W, 3] in BT.2020 -> 8-bit sRGB."""
    linear = _light_of_signal(is_pq)[picture >> 4]
    linear = np.clip(linear @ _BT709_FROM_BT2020.T, 0.0, 1.0)
    return np.asarray(_srgb_of_light()[(linear * 4095 + 0.5).astype(np.uint16)])


_BT709_FROM_BT2020 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)


@cache
def _light_of_signal(is_pq: bool) -> FloatArray:
    """[4096] linear light after tone mapping for each 12-bit signal value; paper white goes to 0.8."""
    signal = np.arange(4096) / 4095
    if is_pq:
        m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
        power = signal ** (1 / m2)
        nits = 10000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
        light = np.minimum(nits / 203.0, PQ_PEAK)
        peak = PQ_PEAK
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
        # Signal 0.75 is paper white; the display's gamma of 1.2 is part of the standard.
        light = (scene / scene[round(0.75 * 4095)]) ** 1.2
        peak = float(light[-1])
    # Extended Reinhard: near linear in the dark, the peak goes to 1.
    mapped = light * (1 + light / peak**2) / (1 + light)
    white = (1 + 1 / peak**2) / 2
    return np.asarray(np.minimum(mapped * 0.8 / white, 1.0), np.float32)


@cache
def _srgb_of_light() -> ByteArray:
    """[4096] 8-bit sRGB value of linear light 0..1."""
    light = np.arange(4096) / 4095
    value = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * value).astype(np.uint8)
