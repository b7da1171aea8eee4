"""Rows of the paper's tables, to stand beside ours: published numbers on other data, never comparable."""

from __future__ import annotations

RECONSTRUCTION = {
    "EAT": {"ssim": 0.479, "psnr": 16.940, "emotion_score": 0.19389, "m_lmd": 3.828, "f_lmd": 7.858},
    "TalkingGaussian": {
        "ssim": 0.497,
        "psnr": 13.083,
        "emotion_score": 0.08479,
        "m_lmd": 3.713,
        "f_lmd": 6.654,
    },
    "Wav2Lip": {"ssim": 0.623, "psnr": 19.428, "emotion_score": 0.12870, "m_lmd": 4.043, "f_lmd": 6.318},
    "ER-NeRF": {"ssim": 0.660, "psnr": 18.275, "emotion_score": 0.12323, "m_lmd": 4.129, "f_lmd": 7.189},
    "GeneFace++": {"ssim": 0.729, "psnr": 19.687, "emotion_score": 0.11834, "m_lmd": 3.970, "f_lmd": 6.334},
    "SyncTalk": {"ssim": 0.732, "psnr": 19.340, "emotion_score": 0.13290, "m_lmd": 3.639, "f_lmd": 6.240},
    "GaussianTalker": {
        "ssim": 0.736,
        "psnr": 19.300,
        "emotion_score": 0.12750,
        "m_lmd": 3.819,
        "f_lmd": 6.094,
    },
    "EmoGene (paper)": {
        "ssim": 0.730,
        "psnr": 19.698,
        "emotion_score": 0.19715,
        "m_lmd": 3.602,
        "f_lmd": 5.929,
    },
}
"""EmoGene (FG 2025), Table I, MEAD columns; score as a share instead of a percentage."""

MOVEMENT = ("velocity_mean", "velocity_std", "acceleration_mean", "acceleration_std")
IDLE = {
    name: dict(zip(MOVEMENT, values, strict=True))
    for name, values in {
        "ER-NeRF": (0.0528, 0.0455, 0.0392, 0.0313),
        "GaussianTalker": (0.0514, 0.0451, 0.0417, 0.0319),
        "TalkingGaussian": (0.0451, 0.0407, 0.0377, 0.0297),
        "Wav2Lip": (0.0431, 0.0399, 0.0378, 0.0347),
        "EAT": (0.0371, 0.0364, 0.0310, 0.0259),
        "SyncTalk": (0.0349, 0.0359, 0.0278, 0.0257),
        "GeneFace++": (0.0300, 0.0242, 0.0208, 0.0153),
        "EmoGene (paper)": (0.0175, 0.0305, 0.0068, 0.0129),
    }.items()
}
"""EmoGene (FG 2025), Table II."""
IDLE_ABLATION = {
    name: dict(zip(MOVEMENT, values, strict=True))
    for name, values in {
        "fixed length, random gap": (0.0256, 0.0339, 0.0084, 0.0115),
        "random length, random gap": (0.0253, 0.0338, 0.0083, 0.0113),
        "even": (0.0259, 0.0339, 0.0084, 0.0112),
        "none": (0.0378, 0.0351, 0.0125, 0.0125),
        "EmoGene (paper)": (0.0175, 0.0305, 0.0068, 0.0129),
    }.items()
}
"""EmoGene (FG 2025), Table V: ways to sample poses in silence."""
NOTE = "Rows marked published are the paper's own numbers on other data (MEAD): not comparable with ours."

ABLATION = {
    "EmoGene without LDM (paper)": {
        "ssim": 0.509,
        "psnr": 10.778,
        "emotion_score": 0.12344,
        "m_lmd": 4.440,
        "f_lmd": 9.476,
    },
    "EmoGene (paper)": {
        "ssim": 0.730,
        "psnr": 19.698,
        "emotion_score": 0.19715,
        "m_lmd": 3.602,
        "f_lmd": 5.929,
    },
    **{
        f"RealTalk, dose {dose:g}": dict(
            zip(("ssim", "psnr", "emotion_score", "m_lmd", "f_lmd"), values, strict=True)
        )
        for dose, values in {
            0.0: (0.721, 18.155, 0.12828, 5.795, 8.624),
            0.15: (0.734, 19.780, 0.17751, 5.925, 9.653),
            0.5: (0.719, 18.118, 0.17121, 5.089, 8.507),
            1.0: (0.716, 18.012, 0.12554, 5.246, 8.700),
        }.items()
    },
}
"""EmoGene (FG 2025), Table IV, and RealTalk's dose table (ICCVW 2025)."""

STUDY = {
    name: dict(zip(("emotion", "lip_sync", "realism", "quality", "average"), values, strict=True))
    for name, values in {
        "EmoGene": (2.476, 2.689, 2.536, 2.625, 2.581),
        "EAT": (2.357, 2.946, 2.435, 2.560, 2.575),
        "GeneFace++": (2.381, 2.696, 2.417, 2.583, 2.519),
        "Wav2Lip": (2.339, 2.946, 2.137, 2.417, 2.460),
        "GaussianTalker": (2.310, 1.994, 2.042, 2.452, 2.200),
        "TalkingGaussian": (2.018, 1.732, 2.018, 2.185, 1.988),
        "SyncTalk": (1.935, 1.696, 1.935, 2.030, 1.899),
        "ER-NeRF": (1.327, 1.244, 1.274, 1.286, 1.283),
    }.items()
}
"""EmoGene (FG 2025), Table III: 20 raters."""
