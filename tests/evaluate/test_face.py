"""The small face track of the metrics: gaps, blocks, and how much it grows."""

import tracemalloc

import numpy as np
import pytest

from emogene.assets import is_present
from emogene.capture.canonical import canonical_face
from emogene.capture.eyes import eye_stream
from emogene.capture.tracker import Track
from emogene.evaluate.face import BLOCK, LANDMARKS, FaceRecorder, FaceTrack, extent, steady_face
from emogene.geometry.landmarks import MESH_FROM_LANDMARK
from tests.capture.synthetic_head import synthetic_head

needs_model = pytest.mark.skipif(
    not is_present("face-landmarker"), reason="the face landmarker was not fetched"
)


def recorded(track: Track) -> FaceTrack:
    recorder = FaceRecorder()
    for mesh, shapes, seen in zip(track.mesh_px, track.blendshapes, track.valid, strict=True):
        recorder.add((mesh, shapes) if seen else None)
    return recorder.track(track.size_px)


@needs_model
def test_the_face_is_the_whole_meshs_over_gaps_and_blocks() -> None:
    track = synthetic_head(n_frames=1100).track
    valid = np.ones(1100, bool)
    valid[[3, 4, 700]] = False
    track = Track(track.mesh_px, track.blendshapes, valid, track.size_px)
    whole, kept = canonical_face(track), recorded(track)
    face = steady_face(kept)
    np.testing.assert_allclose(face.landmarks_cano, whole.landmarks_cano, atol=2e-5)
    np.testing.assert_allclose(face.neutral_cano, whole.neutral_cano, atol=2e-5)
    np.testing.assert_allclose(face.rotation, whole.rotation, atol=2e-5)
    eyes = eye_stream(whole.mesh_cano, track.filled().blendshapes)
    np.testing.assert_allclose(face.openness, eyes[:, :2], atol=1e-3)
    np.testing.assert_array_equal(kept.extent_px[9], extent(track.mesh_px[9]))
    np.testing.assert_array_equal(kept.points_px[9, LANDMARKS], track.mesh_px[9, MESH_FROM_LANDMARK])


def test_nothing_seen_is_zeros_and_no_frames_are_no_frames() -> None:
    recorder = FaceRecorder()
    for _ in range(3):
        recorder.add(None)
    track = recorder.track((8, 8))
    assert len(track) == 3 and not track.valid.any() and not track.points_px.any()
    assert len(FaceRecorder().track((0, 0))) == 0


@needs_model
def test_a_frame_costs_little_memory() -> None:
    """Kept: under 1.5 kB a frame; at the peak of its use under 5 kB (a mesh alone has 5.7 kB)."""
    mesh = synthetic_head(n_frames=1).track.mesh_px[0]
    shapes = np.zeros(52, np.float32)

    def grown(count: int) -> tuple[int, int]:
        tracemalloc.start()
        recorder, rng = FaceRecorder(), np.random.default_rng(0)
        for _ in range(count):
            recorder.add((mesh + rng.normal(0, 0.5, mesh.shape).astype(np.float32), shapes))
        track = recorder.track((512, 512))
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        steady_face(track)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return kept, peak

    short, long = grown(2 * BLOCK), grown(6 * BLOCK)
    kept, peak = ((b - a) / (4 * BLOCK) for a, b in zip(short, long, strict=True))
    assert kept < 1500 and peak < 5000, (kept, peak)
