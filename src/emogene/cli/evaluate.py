"""`emogene evaluate`: measure videos, avatars and whole systems."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from emogene.cli.evaluate_emotion import emotion
from emogene.cli.evaluate_features import features
from emogene.cli.evaluate_sync import sync

if TYPE_CHECKING:
    from emogene.features.extractor import SpeechFeatures
    from emogene.io.clip import Clip
    from emogene.motion.model import MotionModel
    from emogene.motion.sync import SyncExpert


def video(
    video: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    reference: Path | None = None,
    audio: Path | None = None,
    emotion: str | None = None,
    weights: Path | None = None,
    json_out: Path | None = None,
) -> None:
    """Measure one video, of any system.

    Args:
        video: The generated video.
        reference: The real video of the same take and pose; adds PSNR, SSIM, LMD, lips, identity.
        audio: The driving sound; the video's own if not given.
        emotion: The emotion it should show; adds score and accuracy.
        weights: Folder of published weights for the real LPIPS, FID, FVD and LSE (docs/evaluation.md).
        json_out: Write the result there too.
    """
    from emogene.emotion.labels import resolve
    from emogene.evaluate.nets.weights import MetricWeights
    from emogene.evaluate.video import evaluate_video
    from emogene.io.files import write_json

    label = None if emotion is None else resolve(emotion)
    found = evaluate_video(
        video, reference=reference, audio=audio, emotion=label, weights=MetricWeights(weights)
    )
    content = found.plain()
    sys.stdout.write(json.dumps(content, indent=2) + "\n")
    if json_out is not None:
        write_json(json_out, content)


def suite(
    config: Annotated[Path, tyro.conf.Positional], /, *, out: Path = Path("evaluation"), workers: int = 2
) -> None:
    """Measure several systems on the same clips and write JSON, CSV and one HTML report.

    Args:
        config: A JSON file: systems, reference, speech, protocols; see docs/evaluation.md.
        out: Folder of the report; a stopped run goes on there.
        workers: Processes that measure.
    """
    from rich.console import Console

    from emogene.evaluate.report import text_table
    from emogene.evaluate.suite import Suite, run_suite

    console = Console(stderr=True)
    report = run_suite(Suite.read(config), out, workers=workers, say=console.print)
    for table in report.tables:
        sys.stdout.write(text_table(table) + "\n")
    sys.stdout.write(f"wrote {out / 'report.html'}\n")


def render(
    avatar: Annotated[str, tyro.conf.Positional],
    clip: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    sheet: Path = Path("render.png"),
    frames: int = 160,
    quality: str = "standard",
    json_out: Path | None = None,
) -> None:
    """Measure an avatar's portrait on the held-out end of the clip it was made from.

    Args:
        avatar: Avatar name or bundle, or a portrait folder.
        clip: The clip folder that `emogene create` left.
        sheet: Picture to write: real, ours, difference and mouths.
        frames: Held-out frames to measure at most.
        quality: draft, standard or high.
        json_out: Write the numbers there too.
    """
    from emogene.avatar import Avatar
    from emogene.evaluate.render import evaluate_render, save_report
    from emogene.evaluate.report import text_table
    from emogene.io.clip import open_clip
    from emogene.io.files import write_json
    from emogene.render.portrait import Portrait

    folder = Path(avatar)
    is_portrait = (folder / "model.safetensors").exists()
    portrait = Portrait.load(folder) if is_portrait else Avatar.load(avatar).portrait
    report = evaluate_render(portrait, open_clip(clip), max_frames=frames, quality=quality)
    save_report(report, sheet)
    sys.stdout.write(text_table(report.table) + f"\nwrote {sheet}\n")
    if json_out is not None:
        write_json(json_out, {row.name: dict(row.values) for row in report.table.rows})


def motion(
    data: list[Path],
    *,
    model: Path | None = None,
    sync: Path | None = None,
    independent: Path | None = None,
    features: str = "emogene",
    hold_out: list[str] | None = None,
    temperature: float = 0.2,
    correct: bool = True,
    exact: bool = False,
    limit: int = 60,
    fit: float = 0.0,
    plot: Path | None = None,
    json_out: Path | None = None,
) -> None:
    """Measure the motion model on clips of real speech: correlation, closures, stillness, variety, sync.

    Args:
        data: Folders of clips, see `emogene data prepare`.
        model: Motion folder; default: the shipped one.
        sync: Sync expert's folder; default: the shipped one.
        independent: Folder of a second sync expert, on other features (mel), that judges the motion.
        features: Speech features to hear through.
        hold_out: Speakers that training did not see ("unseen"); of the others every tenth clip is judged.
        temperature: Spread of the motion.
        correct: Take each clip's audio-video offset out first.
        exact: To a fraction of a frame; else whole frames.
        limit: Clips per group at most.
        fit: Also fit the model to so many seconds of each speaker (below 1: such a share of their footage,
            15 s at least), like `emogene create`; the rest judges.
        plot: Draw lip opening, truth and ours, of one clip per speaker into this .svg.
        json_out: Write the table there too.
    """
    from emogene.data.corpus import open_corpus, split_corpus
    from emogene.evaluate.motion import format_table, judge
    from emogene.features.extractor import load_extractor
    from emogene.io.files import write_json
    from emogene.motion.model import load_motion
    from emogene.motion.sync import load_sync

    _, held = split_corpus(open_corpus(data), hold_out or [])
    groups = {name: clips[:limit] for name, clips in held.items()}
    extractor = load_extractor(features)
    rows = judge(
        load_motion(model),
        load_sync(sync),
        extractor,
        groups,
        temperature=temperature,
        correct=correct,
        exact=exact,
        plot=plot,
        independent=None if independent is None else load_sync(independent),
    )
    if fit:
        rows |= _fitted_rows(load_motion(model), load_sync(sync), extractor, groups, fit, correct, exact)
    sys.stdout.write(format_table(rows))
    if json_out is not None:
        write_json(json_out, rows)


def _fitted_rows(
    base: MotionModel,
    expert: SyncExpert,
    extractor: SpeechFeatures,
    groups: Mapping[str, Sequence[Clip]],
    seconds: float,
    correct: bool,
    exact: bool,
) -> dict[str, dict[str, Any]]:
    """Rows of every group fitted to its speakers, see ``evaluate.motion_person``."""
    import tempfile

    from emogene.evaluate.motion import corrected
    from emogene.evaluate.motion_judges import ears_of
    from emogene.evaluate.motion_person import person_table
    from emogene.features.prosody import prosody

    ears = ears_of(expert, extractor)
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as work:
        for name, clips in groups.items():
            clips = [corrected(clip, expert, ears, prosody, exact) for clip in clips] if correct else clips
            table = person_table(clips, base, extractor, prosody, Path(work) / name, seconds=seconds)
            rows |= {f"{name}, {row}": numbers for row, numbers in table.items()}
    return rows


SUBCOMMANDS = {
    "motion": motion,
    "emotion": emotion,
    "features": features,
    "sync": sync,
    "video": video,
    "render": render,
    "suite": suite,
}
