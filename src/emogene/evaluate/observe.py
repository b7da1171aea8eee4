"""What one video shows by itself: face track, expressions, identity, and the spread of its pictures.

A video is decoded once: tracker and nets see each picture as it passes, and no picture is kept. What grows
with a video's length is its face track, 1.3 kB a frame. An observation is made once per file and may be kept
on disk, so a reference is observed once for all systems.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emogene.capture.tracker import FaceTracker, Found
from emogene.errors import UserError
from emogene.evaluate.face import FaceRecorder, FaceTrack
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
OBSERVATION_FORMAT = 2
"""Of observations on disk; a run with another format observes anew."""


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

    track: FaceTrack
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
            "points_px": self.track.points_px,
            "extent_px": self.track.extent_px,
            "blendshapes": self.track.blendshapes,
            "valid": self.track.valid.astype(np.uint8),
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
        width, height = about["size_px"]
        track = FaceTrack(
            arrays["points_px"],
            arrays["extent_px"],
            arrays["blendshapes"],
            arrays["valid"].astype(bool),
            (width, height),
        )
        moments = {
            name: Moments(
                int(arrays[f"{name}.count"].item()), arrays[f"{name}.total"], arrays[f"{name}.outer"]
            )
            for name in about["moments"]
        }
        return cls(
            track,
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
    judge = _Judge(nets, missing)
    watchers = [judge, _Embedder(nets, missing), _Inception(nets), _Motion(nets)]
    recorder, flicker, size = FaceRecorder(), Flicker(), (0, 0)
    for index, (picture, found) in enumerate(_watched(video, missing)):
        size = (picture.shape[1], picture.shape[0])
        recorder.add(found)
        flicker.add(picture)
        for watcher in watchers:
            watcher.see(index, picture, found)
    track = recorder.track(size)
    if "faces" not in missing and not track.valid.any():
        missing["faces"] = "no face was found in any frame; is it a video of a talking portrait?"
    moments = {name: found for watcher in watchers for name, found in watcher.moments().items()}
    return Observation(
        track,
        judge.frames,
        _stacked(judge.expression, N_EMOTIONS),
        _stacked(judge.identity, IDENTITY_DIM),
        moments,
        missing,
        flicker.value,
    )


def _stacked(rows: list[FloatArray], width: int) -> FloatArray:
    return np.stack(rows).astype(np.float32) if rows else np.zeros((0, width), np.float32)


def _watched(video: Path, missing: dict[str, str]) -> Iterator[tuple[ByteArray, Found | None]]:
    """Pictures and the faces in them; without a tracker every picture counts as one without a face."""
    pictures = (picture for _, picture in read_video(video, FPS)[1])
    with ExitStack() as open_tracker:
        try:
            tracker = open_tracker.enter_context(FaceTracker())
        except UserError as error:
            missing["faces"] = str(error)
            yield from ((picture, None) for picture in pictures)
            return
        yield from tracker.watch(pictures)


class _Watcher:
    """Sees the pictures of a video in order."""

    def see(self, index: int, picture: ByteArray, found: Found | None) -> None:
        raise NotImplementedError

    def moments(self) -> dict[str, Moments]:
        """Of what was seen, by name."""
        return {}


class _Judge(_Watcher):
    """Expression and identity of every 5th frame with a face."""

    def __init__(self, nets: Nets, missing: dict[str, str]) -> None:
        self._nets, self._missing = nets, missing
        self.frames: list[int] = []
        self.expression: list[FloatArray] = []
        self.identity: list[FloatArray] = []

    def see(self, index: int, picture: ByteArray, found: Found | None) -> None:
        if index % JUDGE_EVERY or found is None:
            return
        mesh, shapes = found
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

    def see(self, index: int, picture: ByteArray, found: Found | None) -> None:
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

    def see(self, index: int, picture: ByteArray, found: Found | None) -> None:
        if self._net is None or index % JUDGE_EVERY:
            return
        moments = _moments_of(self._net.embed, [picture])
        self._moments = moments if self._moments is None else self._moments + moments

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

    def see(self, index: int, picture: ByteArray, found: Found | None) -> None:
        from emogene.evaluate.nets.i3d import CLIP_FRAMES, INPUT_PX

        if self._net is None:
            return
        self._clip.append(resize(picture, INPUT_PX, INPUT_PX))
        if len(self._clip) == CLIP_FRAMES:
            net = self._net
            moments = _moments_of(lambda x: net.embed(x.transpose(0, 1)[None]), self._clip)
            self._moments = moments if self._moments is None else self._moments + moments
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
