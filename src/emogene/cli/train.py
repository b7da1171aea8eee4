"""`emogene train`: train a stage; every run goes on where it stopped."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import tyro

if TYPE_CHECKING:
    from emogene.data.takes import Take, TakeConfig
    from emogene.evaluate.motion import Truth
    from emogene.features.extractor import SpeechFeatures
    from emogene.io.clip import Clip
    from emogene.motion.model import MotionModel

Recipe = TypeVar("Recipe")


def motion(
    data: list[Path],
    *,
    out: Path = Path("runs/motion"),
    recipe: str = "standard",
    features: list[str] | None = None,
    hold_out: list[str] | None = None,
    sync: Path | None = None,
    voices: Path | None = None,
    teachers: list[Path] | None = None,
    start: Path | None = None,
    takes: Path | None = None,
    steps: int = 0,
    versions: int = 4,
    plain_versions: int = 3,
    speaker_power: float = 0.5,
    seed: int = 0,
    minutes: float = 0.0,
    without: list[Literal["flow", "sync"]] | None = None,
) -> None:
    """Train Audio-to-Motion on clip folders; the model is written to OUT/model.

    Args:
        data: Folders of clips, see `emogene data prepare`.
        out: Run folder; an existing run goes on.
        recipe: tiny, standard, paper, or plain (a regression without variety, to teach with).
        features: Speech features to train on (default: the recipe's); several of equal width are mixed.
        hold_out: Speakers to keep for the final table.
        sync: Folder of a sync expert for the sync loss; default: the shipped one if it fits.
        voices: Folder of recordings of many speakers, sound alone: training hears the clips in their voices.
        teachers: Folders of motion models that speak those recordings; training learns from them as well.
        start: Folder of a motion model to go on from, instead of from nothing.
        takes: Folder for the takes of all speakers, held out or not: runs on the same clips share them.
        steps: Optimizer steps; 0: the recipe's.
        versions: Times each clip is used, with other pauses each time.
        plain_versions: After so many of them clips also get another speed, room, microphone and noise.
        speaker_power: A speaker is drawn as often as this power of their minutes says; 0: all alike.
        seed: Of everything random.
        minutes: Stop after so long; 0: no limit.
        without: For an ablation: leave out the flow prior, or the sync expert.
    """
    from dataclasses import replace

    from emogene.data.takes import TakeConfig
    from emogene.data.voices import voice_means
    from emogene.errors import UserError
    from emogene.evaluate.motion import evaluate_motion, format_table, truths
    from emogene.features.prosody import prosody
    from emogene.motion.model import load_motion
    from emogene.motion.vae import RECIPES
    from emogene.training.motion import fitting_expert, train_motion, training_recipe
    from emogene.training.teachers import taught_takes

    config = _choose(recipe, RECIPES)()
    if "flow" in (without or ()):
        config = replace(config, flow_couplings=0)
    names = features or [config.features]
    extractors = _extractors(names)
    plan = TakeConfig(versions=versions, plain_versions=plain_versions, seed=seed)
    heard, held = _takes(data, hold_out or [], extractors, plan, takes, out)
    others = None if voices is None else {x.name: voice_means(voices, x, prosody) for x in extractors}
    if teachers:
        if voices is None:
            raise UserError("teachers need something to say: add --voices FOLDER with recordings of speech")
        heard += taught_takes(voices, teachers, extractors, prosody, out, heard, seed=seed)
    judged = {name: truths(group, extractors[-1], prosody) for name, group in held.items()}
    losses, loop = training_recipe(recipe)
    losses = replace(losses, speaker_power=speaker_power)
    loop = replace(loop, steps=steps or loop.steps, seed=seed, max_minutes=minutes)
    logging.getLogger("emogene.training").setLevel(logging.INFO)

    expert = None if "sync" in (without or ()) else fitting_expert(sync, config.features)
    model = train_motion(
        out,
        heard,
        replace(config, features=names[-1]),
        losses,
        loop,
        expert=expert,
        validate=partial(_motion_scores, judged),
        preview=partial(_draw_lips, judged),
        voices=others,
        start_from=None if start is None else load_motion(start).network,
    )
    model.save(out / "model", trained_on=[str(path) for path in data])
    if judged:
        rows = {name: evaluate_motion(model, group) for name, group in judged.items()}
        sys.stdout.write(format_table(rows))
    sys.stdout.write(f"wrote {out / 'model'}\n")


def sync(
    data: list[Path],
    *,
    out: Path = Path("runs/sync"),
    recipe: str = "standard",
    features: str = "emogene",
    hold_out: list[str] | None = None,
    takes: Path | None = None,
    steps: int = 0,
    versions: int = 3,
    plain_versions: int = 1,
    seed: int = 0,
    minutes: float = 0.0,
) -> None:
    """Train the sync expert on clip folders; it is written to OUT/model.

    Args:
        data: Folders of clips, see `emogene data prepare`.
        out: Run folder; an existing run goes on.
        recipe: tiny, standard or paper.
        features: Speech features to train on.
        hold_out: Speakers to keep for the final table.
        takes: Folder for the takes of all speakers, held out or not: runs on the same clips share them.
        steps: Optimizer steps; 0: the recipe's.
        versions: Times each clip is used, with other pauses each time.
        plain_versions: After so many of them clips also get another speed, room, microphone and noise.
        seed: Of everything random.
        minutes: Stop after so long; 0: no limit.
    """
    from dataclasses import replace

    from emogene.data.takes import TakeConfig
    from emogene.evaluate.motion import format_table, truths
    from emogene.evaluate.sync import evaluate_sync
    from emogene.features.prosody import prosody
    from emogene.motion.sync import RECIPES
    from emogene.training.sync import train_sync, training_recipe

    config = replace(_choose(recipe, RECIPES)(), features=features)
    extractors = _extractors([features])
    plan = TakeConfig(versions=versions, plain_versions=plain_versions, seed=seed)
    heard, held = _takes(data, hold_out or [], extractors, plan, takes, out)
    batches, loop = training_recipe(recipe)
    loop = replace(loop, steps=steps or loop.steps, seed=seed, max_minutes=minutes)
    logging.getLogger("emogene.training").setLevel(logging.INFO)
    expert = train_sync(out, heard, config, batches, loop)
    expert.save(out / "model", trained_on=[str(path) for path in data])
    if held:
        judged = {name: truths(group, extractors[0], prosody) for name, group in held.items()}
        sys.stdout.write(format_table({name: evaluate_sync(expert, group) for name, group in judged.items()}))
    sys.stdout.write(f"wrote {out / 'model'}\n")


def emotion(
    data: Path,
    *,
    out: Path = Path("runs/emotion"),
    recipe: str = "standard",
    start: Path | None = None,
    steps: int = 0,
    seed: int = 0,
    minutes: float = 0.0,
) -> None:
    """Train Motion-to-Emotion on pairs of clips; the model is written to OUT/model.

    Args:
        data: Folder of clips in pairs (neutral and emotional takes), as the synthetic corpus has them.
        out: Run folder; an existing run goes on.
        recipe: tiny, standard or paper.
        start: Folder of a model of that recipe to go on from, instead of from nothing.
        steps: Optimizer steps; 0: the recipe's.
        seed: Of everything random.
        minutes: Stop after so long; 0: no limit.
    """
    from emogene.emotion.apply import EmotionModel
    from emogene.training.emotion import train_emotion

    logging.getLogger("emogene.training").setLevel(logging.INFO)
    scores = train_emotion(
        data,
        out,
        recipe,
        steps=steps or None,
        seed=seed,
        max_minutes=minutes,
        start=None if start is None else EmotionModel.load(start),
    )
    sys.stdout.write("  ".join(f"{name} {value:.4g}" for name, value in scores.items()) + "\n")


def render(
    clip: Path, *, out: Path = Path("runs/render"), recipe: str = "standard", minutes: float = 0.0
) -> None:
    """Train the portrait of one person from a clip folder; it is written to OUT/portrait.

    Args:
        clip: A clip folder with frames and masks, as `emogene create` makes it.
        out: Run folder; an existing run goes on.
        recipe: tiny, standard, high or paper.
        minutes: Fit the schedule to so much time on this machine; 0: the recipe's steps.
    """
    from emogene.io.clip import open_clip
    from emogene.training.render import RECIPES, train_portrait

    logging.getLogger("emogene.training").setLevel(logging.INFO)
    train_portrait(open_clip(clip), out, _choose(recipe, RECIPES)(), minutes=minutes)
    sys.stdout.write(f"wrote {out / 'portrait'}\n")


def features(
    data: list[Path],
    *,
    out: Path = Path("runs/features"),
    recipe: str = "standard",
    prompts: Path | None = None,
    start: Path | None = None,
    disguise: float = 0.0,
    steps: int = 0,
    minutes: float = 0.0,
) -> None:
    """Distil the built-in speech features from Whisper; they are written to OUT/export.

    Args:
        data: Folders with recordings of speech, no labels needed; each is heard equally often.
        out: Run folder; an existing run goes on.
        recipe: tiny, standard or languages.
        prompts: Where recorded prompts in other languages are installed (/): each speaker is one folder more.
        start: Folder of a student to go on from, instead of from Whisper tiny.
        disguise: How far pitch and throat of the voices that the student hears are from the teacher's (0.13).
        steps: Optimizer steps; 0: the recipe's.
        minutes: Stop after so long; 0: no limit.
    """
    from dataclasses import replace

    from emogene.training.features import recipe as recipe_of
    from emogene.training.features import train_features, with_limits
    from emogene.training.prompts import prompt_folders

    logging.getLogger("emogene.training").setLevel(logging.INFO)
    folders = [*data, *(prompt_folders(prompts) if prompts else [])]
    plan = replace(with_limits(recipe_of(recipe), steps, minutes), disguise=disguise)
    scores = train_features(folders, out, plan, start=start)
    sys.stdout.write("  ".join(f"{name} {value:.4g}" for name, value in scores.items()) + "\n")
    sys.stdout.write(f"wrote {out / 'export'}\n")


def average_features(
    students: list[Path],
    *,
    out: Path = Path("runs/features/average"),
    like: Path | None = None,
    data: list[Path] | None = None,
) -> None:
    """Average built-in speech features of several runs into one; it is written to OUT.

    Args:
        students: Folders that `emogene train features` wrote (RUN/export), or the shipped one.
        out: Folder of the result.
        like: Folder of a student to resemble: models that learned through that one go on as they are.
        data: Folders with recordings of speech on which they are compared; needed by --like.
    """
    from emogene.errors import UserError
    from emogene.training.features import average_students

    if like is not None and not data:
        raise UserError("--like compares students on speech: add --data FOLDER with recordings")
    average_students(students, out, like=like, data=data or ())
    sys.stdout.write(f"wrote {out}\n")


def voice(
    source: Annotated[str, tyro.conf.Positional],
    root: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path = Path("runs/voice"),
    features: str = "whisper-tiny",
    steps: int = 0,
    seed: int = 0,
) -> None:
    """Train the head behind `--emotion auto` on acted speech; it is written to OUT/model.

    Args:
        source: The data set: ravdess, crema-d, mead (see `emogene data sources`).
        root: Its folder.
        out: Run folder; an existing run goes on.
        features: Speech features to hear with.
        steps: Optimizer steps; 0: the recipe's.
        seed: Of everything random.
    """
    from emogene.data.sources import read_source
    from emogene.emotion.voice import VoiceConfig
    from emogene.features.extractor import load_extractor
    from emogene.training.voice import read_examples, train_voice

    logging.getLogger("emogene.training").setLevel(logging.INFO)
    examples = read_examples(read_source(source, root), load_extractor(features), VoiceConfig().window_s)
    scores = train_voice(examples, out, features, steps=steps or None, seed=seed)
    sys.stdout.write(f"accuracy on unheard actors {scores['accuracy']:.3f}; wrote {out / 'model'}\n")


SUBCOMMANDS = {
    "motion": motion,
    "sync": sync,
    "emotion": emotion,
    "render": render,
    "features": features,
    "average-features": average_features,
    "voice": voice,
}


def _motion_scores(judged: Mapping[str, list[Truth]], model: MotionModel) -> dict[str, float]:
    """Scores of a training's validation on some clips of each held-out speaker."""
    from emogene.evaluate.motion import evaluate_motion

    rows = {name: evaluate_motion(model, group[:40], temperature=0.0) for name, group in judged.items()}
    errors = [row["nmse"] for row in rows.values()]
    scores = {f"{name}_r_opening": row["r_opening"] for name, row in rows.items()}
    return {"score": sum(errors) / len(errors), **scores} if errors else {}


def _draw_lips(judged: Mapping[str, list[Truth]], model: MotionModel, folder: Path) -> None:
    """Lip opening of one sentence per held-out speaker, truth and ours."""
    from emogene.evaluate.curves import curve_sheet
    from emogene.geometry.landmarks import lip_opening
    from emogene.io.images import write_rgb

    first = {clip.speaker: clip for group in judged.values() for clip in group}
    strips = [
        (lip_opening(clip.offsets), lip_opening(model.generate(clip.features, clip.prosody)))
        for clip in list(first.values())[:8]
    ]
    if strips:
        write_rgb(folder / "lip-opening.png", curve_sheet(strips))


def _takes(
    data: list[Path],
    hold_out: list[str],
    extractors: list[SpeechFeatures],
    plan: TakeConfig,
    shared: Path | None,
    out: Path,
) -> tuple[list[Take], dict[str, list[Clip]]]:
    """Takes to learn from, and the groups of held-out clips.

    ``shared``: a folder of all speakers' takes, held out or not, which several runs use; else OUT/takes.
    """
    from dataclasses import replace

    from emogene.data.corpus import corpus_takes, open_corpus, split_corpus
    from emogene.features.prosody import prosody

    corpus = open_corpus(data)
    clips, held = split_corpus(corpus, hold_out)
    if shared:
        # The same for every run, whatever its seed.
        clips, plan = split_corpus(corpus)[0], replace(plan, seed=0)
    takes = corpus_takes(clips, extractors, prosody, shared or out / "takes", plan)
    return [take for take in takes if take.speaker not in hold_out], held


def _choose(recipe: str, recipes: Mapping[str, Callable[[], Recipe]]) -> Callable[[], Recipe]:
    from emogene.errors import UserError

    if recipe not in recipes:
        raise UserError(f"there is no recipe {recipe!r}; choose from {', '.join(recipes)}")
    return recipes[recipe]


def _extractors(names: list[str]) -> list[SpeechFeatures]:
    from emogene.errors import UserError
    from emogene.features.extractor import load_extractor

    loaded = [load_extractor(name) for name in names]
    if len({extractor.dim for extractor in loaded}) > 1:
        raise UserError(f"features {', '.join(names)} differ in width and cannot be mixed; choose one")
    return loaded
