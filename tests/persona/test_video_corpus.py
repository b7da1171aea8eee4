from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emogene.errors import UserError
from emogene.io.audio import read_audio
from emogene.io.clip import clip_folders, open_clip
from emogene.io.files import read_json
from emogene.io.images import read_mask, read_rgb
from emogene.persona.corpus import build_corpus
from emogene.persona.opengl import open_context
from emogene.persona.video_corpus import build_video_corpus


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        open_context().release()
    except UserError as error:
        pytest.skip(str(error))
    out = tmp_path_factory.mktemp("film") / "film"
    assert build_video_corpus(out, 0.01, seed=29, engines=("formant",), personas=("jonas",), size_px=48) == 1
    return out


def test_a_filmed_take_is_a_whole_clip(filmed: Path) -> None:
    header = read_json(filmed / "corpus.json")
    assert header["complete"] and header["video"] and header["synthetic"] and header["clips"] == 1
    clip = open_clip(clip_folders(filmed)[0])
    assert read_audio(clip.audio_path).n_frames == clip.n_frames and clip.valid.all()
    assert clip.speaker == "jonas" and clip.about["take"] == "neutral" and clip.about["synthetic"]
    assert clip.camera is not None and clip.camera.width_px == 48
    for index in (0, clip.n_frames - 1):
        assert read_rgb(clip.frame_path(index)).shape == (48, 48, 3)
        assert set(np.unique(read_mask(clip.mask_path(index)))) == {0, 1, 2}
    assert np.shape(clip.about["neutral_cano"]) == (68, 3) and clip.background_path.exists()


def test_filming_goes_on_where_it_stopped(filmed: Path) -> None:
    stamp = (filmed / "take-0000" / "clip.json").stat().st_mtime_ns
    build_video_corpus(filmed, 0.01, seed=29, engines=("formant",), personas=("jonas",), size_px=48)
    assert (filmed / "take-0000" / "clip.json").stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match="another size_px"):
        build_video_corpus(filmed, 0.01, seed=29, engines=("formant",), personas=("jonas",), size_px=64)
    with pytest.raises(UserError, match="choose another folder"):
        build_corpus(filmed, 0.001, seed=29, speakers=1, engines=("formant",), workers=1)


def test_nothing_to_film(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="more than 0"):
        build_video_corpus(tmp_path, 0, engines=("formant",))
