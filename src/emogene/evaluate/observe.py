"""What one video shows by itself: face track, expressions, identity, and the spread of its pictures.

A video is decoded twice: once for the face tracker, once for the nets that need the tracked face. Pictures
are never kept, so memory does not grow with their number; the track takes 6 kB a frame. An observation is
made once per file and may be kept on disk, so a reference is observed once for all systems.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emogene.capture.tracker import N_BLENDSHAPES, N_MESH, FaceTracker, Track
from emogene.errors import UserError
from emogene.evaluate.frechet import Moments
from emogene.evaluate.images import Flicker
from emogene.evaluate.nets.weights import MetricWeights
from emogene.io.files import read_json, write_json
from emogene.io.images import resize
from emogene.io.tensors import load_arrays, save_arrays
from emogene.io.video import read_video
from emogene.types import FPS, N_EMOTIONS, ByteArray, FloatArray

if TYPE_CHECKING:
    from emogene.evaluate.expression import ExpressionJudge
    from emogene.evaluate.identity import FaceIdentity
    from emogene.evaluate.nets.efficientnet import EfficientNetLite0
    from emogene.evaluate.nets.lpips import Lpips

JUDGE_EVERY = 5
"""Expression, identity and perceptual distances are judged on every 5th frame, as EAT's evaluation does."""
EMBED_EVERY = 2
"""Frames between two embeddings for the Frechet distances."""
WINDOW, HOP = 8, 4
"""Embeddings per window of the video distance (16 frames, .64 s), and between the starts of windows."""
BATCH = 8
IDENTITY_DIM = 256


class Nets:
    """The networks that metrics look through, each loaded when it is first needed."""

    def __init__(self, weights: MetricWeights | None = None) -> None:
        self.weights = weights or MetricWeights()

    @cached_property
    def expression(self) -> ExpressionJudge:
        from emogene.evaluate.expression import ExpressionJudge

        return ExpressionJudge()

    @cached_property
    def identity(self) -> FaceIdentity:
        from emogene.evaluate.identity import FaceIdentity

        return FaceIdentity()

    @cached_property
    def efficientnet(self) -> EfficientNetLite0:
        from emogene.evaluate.nets.efficientnet import EfficientNetLite0

        return EfficientNetLite0()

    @cached_property
    def lpips(self) -> Lpips | None:
        from emogene.evaluate.nets.lpips import Lpips

        path = self.weights.find("lpips")
        return None if path is None else Lpips(path)


@dataclass(frozen=True)
class Observation:
    """One video on the 25 fps clock.

    track: of its face. judged: [K] frames that were judged. expression: [K, 8] probabilities.
    identity: [K, 256] unit vectors. moments: of picture embeddings: fd (frames), fvd (windows) by
    EfficientNet-Lite0; fid and i3d where their real weights are configured. missing: what could not be
    observed, and why.
    """

    track: Track
    judged: list[int] = field(default_factory=list)
    expression: FloatArray = field(default_factory=lambda: np.zeros((0, N_EMOTIONS), np.float32))
    identity: FloatArray = field(default_factory=lambda: np.zeros((0, IDENTITY_DIM), np.float32))
    moments: dict[str, Moments] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    flicker: float = 0.0
    """Mean absolute change per pixel and frame, grey levels."""

    def save(self, path: Path) -> None:
        """Write the arrays to ``path`` (.safetensors) and the words beside it (.json)."""
        arrays: dict[str, NDArray[Any]] = {
            "mesh_px": self.track.mesh_px,
            "blendshapes": self.track.blendshapes,
            "judged": np.array(self.judged, np.int64),
            "expression": self.expression,
            "identity": self.identity,
        }
        for name, moments in self.moments.items():
            for part in fields(Moments):
                arrays[f"{name}.{part.name}"] = np.asarray(getattr(moments, part.name))
        save_arrays(path, arrays)
        content = {
            "size_px": self.track.size_px,
            "missing": self.missing,
            "moments": list(self.moments),
            "flicker": self.flicker,
        }
        write_json(path.with_suffix(".json"), content)

    @classmethod
    def load(cls, path: Path) -> Observation:
        """Read what ``save`` wrote."""
        about, arrays = read_json(path.with_suffix(".json")), load_arrays(path)
        mesh = arrays["mesh_px"]
        width, height = about["size_px"]
        moments = {
            name: Moments(
                int(arrays[f"{name}.count"].item()), arrays[f"{name}.total"], arrays[f"{name}.outer"]
            )
            for name in about["moments"]
        }
        return cls(
            Track(mesh, arrays["blendshapes"], np.isfinite(mesh[:, 0, 0]), (width, height)),
            arrays["judged"].tolist(),
            arrays["expression"],
            arrays["identity"],
            moments,
            about["missing"],
            about["flicker"],
        )


def observe(video: Path, nets: Nets) -> Observation:
    """Observe a video file; what cannot be observed is named, not raised.

    Raises:
        MediaError: the file holds no pictures.
    """
    missing: dict[str, str] = {}
    track = _tracked(video, missing)
    watchers = [_Judge(nets, track, missing), _Embedder(nets, missing), _Inception(nets), _Motion(nets)]
    flicker = Flicker()
    for index, (_, picture) in enumerate(read_video(video, FPS)[1]):
        flicker.add(picture)
        for watcher in watchers:
            watcher.see(index, picture)
    result = Observation(track, missing=missing)
    judge = watchers[0]
    assert isinstance(judge, _Judge)
    moments = {name: found for watcher in watchers for name, found in watcher.moments().items()}
    return Observation(
        track,
        judge.frames,
        _stacked(judge.expression, result.expression),
        _stacked(judge.identity, result.identity),
        moments,
        missing,
        flicker.value,
    )


def _stacked(rows: list[FloatArray], empty: FloatArray) -> FloatArray:
    return np.stack(rows).astype(np.float32) if rows else empty


def _tracked(video: Path, missing: dict[str, str]) -> Track:
    """The face's track; without a tracker or a face every frame counts as one without a face."""
    try:
        with FaceTracker() as tracker:
            track = tracker.follow(picture for _, picture in read_video(video, FPS)[1])
    except UserError as error:
        if "mediapipe" not in str(error) and "face_landmarker" not in str(error):
            raise
        missing["faces"] = str(error)
        count, size = 0, (0, 0)
        for count, (_, picture) in enumerate(read_video(video, FPS)[1], start=1):  # noqa: B007
            size = (picture.shape[1], picture.shape[0])
        mesh = np.full((count, N_MESH, 3), np.nan, np.float32)
        return Track(mesh, np.zeros((count, N_BLENDSHAPES), np.float32), np.zeros(count, bool), size)
    if not track.valid.any():
        missing["faces"] = "no face was found in any frame; is it a video of a talking portrait?"
    return track


class _Watcher:
    """Sees the pictures of a video in order."""

    def see(self, index: int, picture: ByteArray) -> None:
        raise NotImplementedError

    def moments(self) -> dict[str, Moments]:
        """Of what was seen, by name."""
        return {}


class _Judge(_Watcher):
    """Expression and identity of every 5th frame with a face."""

    def __init__(self, nets: Nets, track: Track, missing: dict[str, str]) -> None:
        self._nets, self._track, self._missing = nets, track, missing
        self.frames: list[int] = []
        self.expression: list[FloatArray] = []
        self.identity: list[FloatArray] = []

    def see(self, index: int, picture: ByteArray) -> None:
        if index % JUDGE_EVERY or index >= len(self._track) or not self._track.valid[index]:
            return
        mesh, shapes = self._track.mesh_px[index], self._track.blendshapes[index]
        self.frames.append(index)
        self.expression.append(self._nets.expression.score(picture, mesh, shapes))
        for name, reason in self._nets.expression.missing.items():
            self._missing[name] = reason
        if "csim" not in self._missing:
            try:
                self.identity.append(self._nets.identity.embed(picture, mesh))
            except UserError as error:
                self._missing["csim"] = str(error)


class _Embedder(_Watcher):
    """EfficientNet-Lite0 embeddings of every 2nd frame, and windows over them."""

    def __init__(self, nets: Nets, missing: dict[str, str]) -> None:
        self._nets, self._missing = nets, missing
        self._batch: list[ByteArray] = []
        self._recent: deque[FloatArray] = deque(maxlen=WINDOW)
        self._seen = 0
        self._moments: dict[str, Moments] = {}

    def see(self, index: int, picture: ByteArray) -> None:
        from emogene.evaluate.nets.efficientnet import INPUT_PX

        if index % EMBED_EVERY or "fd_efflite0" in self._missing:
            return
        self._batch.append(resize(picture, INPUT_PX, INPUT_PX))
        if len(self._batch) == BATCH:
            self._embed()

    def moments(self) -> dict[str, Moments]:
        if self._batch:
            self._embed()
        return self._moments

    def _embed(self) -> None:
        import torch

        from emogene.evaluate.perceptual import as_tensor

        try:
            net = self._nets.efficientnet
        except UserError as error:
            self._missing["fd_efflite0"] = self._missing["perceptual_efflite0"] = str(error)
            return
        with torch.inference_mode():
            vectors = net.embed(as_tensor(self._batch)).numpy()
        self._batch = []
        self._add("fd", vectors)
        for vector in vectors:
            self._recent.append(vector)
            self._seen += 1
            if self._seen >= WINDOW and (self._seen - WINDOW) % HOP == 0:
                window = np.stack(self._recent)
                change = np.abs(np.diff(window, axis=0)).mean(0)
                self._add("fvd", np.concatenate([window.mean(0), change])[None])

    def _add(self, name: str, vectors: FloatArray) -> None:
        found = Moments.of(vectors)
        self._moments[name] = self._moments[name] + found if name in self._moments else found


class _Inception(_Watcher):
    """FID's pool3 features of every 5th frame, where their weights are configured."""

    def __init__(self, nets: Nets) -> None:
        from emogene.evaluate.nets.inception import FidInception

        path = nets.weights.find("fid")
        self._net = None if path is None else FidInception(path)
        self._moments: Moments | None = None

    def see(self, index: int, picture: ByteArray) -> None:
        if self._net is None or index % JUDGE_EVERY:
            return
        found = _moments_of(self._net.embed, [picture])
        self._moments = found if self._moments is None else self._moments + found

    def moments(self) -> dict[str, Moments]:
        return {} if self._moments is None else {"fid": self._moments}


class _Motion(_Watcher):
    """I3D's logits of successive clips of 16 frames, where their weights are configured."""

    def __init__(self, nets: Nets) -> None:
        from emogene.evaluate.nets.i3d import I3d

        path = nets.weights.find("fvd")
        self._net = None if path is None else I3d(path)
        self._clip: list[ByteArray] = []
        self._moments: Moments | None = None

    def see(self, index: int, picture: ByteArray) -> None:
        from emogene.evaluate.nets.i3d import CLIP_FRAMES, INPUT_PX

        if self._net is None:
            return
        self._clip.append(resize(picture, INPUT_PX, INPUT_PX))
        if len(self._clip) == CLIP_FRAMES:
            net = self._net
            found = _moments_of(lambda x: net.embed(x.transpose(0, 1)[None]), self._clip)
            self._moments = found if self._moments is None else self._moments + found
            self._clip = []

    def moments(self) -> dict[str, Moments]:
        return {} if self._moments is None else {"i3d": self._moments}


def _moments_of(embed: Callable[..., object], pictures: list[ByteArray]) -> Moments:
    import torch

    from emogene.evaluate.perceptual import as_tensor

    with torch.inference_mode():
        return Moments.of(np.asarray(embed(as_tensor(pictures))))


def aligned_pairs(video: Path, reference: Path, count: int) -> Iterator[tuple[ByteArray, ByteArray]]:
    """The first ``count`` pictures of both on the 25 fps clock, the video's resized to the other's size."""
    ours, theirs = read_video(video, FPS)[1], read_video(reference, FPS)[1]
    for index, ((_, picture), (_, real)) in enumerate(zip(ours, theirs, strict=False)):
        if index >= count:
            return
        yield resize(picture, real.shape[1], real.shape[0]), real
