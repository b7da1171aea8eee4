"""Readers of the data sets that talking heads are trained on: each knows one directory layout.

`emogene data sources` prints the layouts; `emogene data prepare NAME ROOT` turns any of them into clip
folders. A new data set is a new class here with ``name``, ``layout``, ``licence`` and ``items``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from emogene.data.items import Item, Source, videos
from emogene.errors import UserError
from emogene.io.clip import clip_folders, open_clip
from emogene.io.files import read_json
from emogene.types import EMOTIONS


class Synthetic:
    """The corpus that `emogene data synthetic` renders: already clip folders with exact landmarks."""

    name = "synthetic"
    layout = "ROOT/**/clip.json"
    licence = "CC0"

    def items(self, root: Path) -> Iterator[Item]:
        for folder in clip_folders(root):
            clip = open_clip(folder)
            emotion = clip.about.get("emotion")
            yield Item(
                name="_".join(folder.relative_to(root).parts) or folder.name,
                speaker=clip.speaker,
                clip=folder,
                emotion=emotion if emotion in EMOTIONS else None,
                intensity=float(clip.about.get("intensity", 1.0)),
                text=str(clip.about.get("text", "")),
                licence=self.licence,
            )


class Grid:
    """GRID audio-visual sentences (Cooke et al. 2006): 34 speakers, 1000 sentences of 3 s each."""

    name = "grid"
    layout = "ROOT/s1/**/bbaf2n.mpg and bbaf2n.align beside it, in ROOT/s1/align or in ROOT/alignments/s1"
    licence = "CC BY 4.0 (Cooke, Barker, Cunningham, Shao 2006)"

    def items(self, root: Path) -> Iterator[Item]:
        for video in videos(root):
            speaker = video.relative_to(root).parts[0] if video.parent != root else root.name
            words = self._words(root, speaker, video)
            yield Item(
                name=f"{speaker}_{video.stem}",
                speaker=f"grid-{speaker}",
                video=video,
                emotion="neutral",
                text=" ".join(word for _, _, word in words if word not in ("sil", "sp")),
                words=words,
                licence=self.licence,
            )

    @staticmethod
    def _words(root: Path, speaker: str, video: Path) -> tuple[tuple[float, float, str], ...]:
        """Word times from the .align file, which counts 1/25000 s."""
        places = (
            video.parent,
            root / speaker / "align",
            root / "alignments" / speaker,
            root / "align" / speaker,
        )
        for place in places:
            path = place / f"{video.stem}.align"
            if path.exists():
                rows = (line.split() for line in path.read_text().splitlines() if line.strip())
                return tuple((int(start) / 25000, int(end) / 25000, word) for start, end, word in rows)
        return ()


class Mead:
    """MEAD (Wang et al. 2020): 8 emotions x 3 levels, seven cameras; the front one is read."""

    name = "mead"
    layout = "ROOT/M003/video/front/angry/level_1/001.mp4 and ROOT/M003/audio/angry/level_1/001.m4a"
    licence = "research only"
    labels: ClassVar = {"disgusted": "disgust", "surprised": "surprise"}

    def items(self, root: Path) -> Iterator[Item]:
        for video in sorted(root.glob("*/video/front/*/level_*/*.mp4")):
            speaker, label, level = video.parts[-6], video.parts[-3], video.parts[-2]
            sound = root / speaker / "audio" / label / level / f"{video.stem}.m4a"
            yield Item(
                name=f"{speaker}_{label}_{level}_{video.stem}",
                speaker=f"mead-{speaker}",
                video=video,
                sound=sound if sound.exists() else None,
                emotion=self.labels.get(label, label),
                intensity=int(level.removeprefix("level_")) / 3,
                licence=self.licence,
            )


class Ravdess:
    """RAVDESS (Livingstone & Russo 2018): 24 actors, two statements; full-AV speech files are read."""

    name = "ravdess"
    layout = (
        "ROOT/Actor_01/01-01-05-02-01-02-01.mp4 (modality 01, channel 01, emotion, intensity, statement...)"
    )
    licence = "CC BY-NC-SA 4.0"
    labels = ("neutral", "neutral", "happy", "sad", "angry", "fear", "disgust", "surprise")
    statements = ("Kids are talking by the door", "Dogs are sitting by the door")

    def items(self, root: Path) -> Iterator[Item]:
        for video in sorted(root.rglob("*.mp4")):
            codes = video.stem.split("-")
            if len(codes) != 7 or codes[:2] != ["01", "01"]:
                continue
            emotion, intensity, statement = (int(code) for code in codes[2:5])
            yield Item(
                name=video.stem,
                speaker=f"ravdess-{codes[6]}",
                video=video,
                emotion=self.labels[emotion - 1],
                intensity=(0.6, 1.0)[intensity - 1],
                text=self.statements[statement - 1],
                licence=self.licence,
            )


class CremaD:
    """CREMA-D (Cao et al. 2014): 91 actors, 12 sentences, 6 emotions, some at three levels."""

    name = "crema-d"
    layout = "ROOT/VideoFlash/1001_DFA_ANG_XX.flv (and, if there, ROOT/AudioWAV/1001_DFA_ANG_XX.wav)"
    licence = "ODbL 1.0"
    labels: ClassVar = {
        "ANG": "angry",
        "DIS": "disgust",
        "FEA": "fear",
        "HAP": "happy",
        "NEU": "neutral",
        "SAD": "sad",
    }
    levels: ClassVar = {"LO": 1 / 3, "MD": 2 / 3, "HI": 1.0, "XX": 2 / 3, "X": 2 / 3}
    sentences: ClassVar = {
        "IEO": "It's eleven o'clock",
        "TIE": "That is exactly what happened",
        "IOM": "I'm on my way to the meeting",
        "IWW": "I wonder what this is about",
        "TAI": "The airplane is almost full",
        "MTI": "Maybe tomorrow it will be cold",
        "IWL": "I would like a new alarm clock",
        "ITH": "I think I have a doctor's appointment",
        "DFA": "Don't forget a jacket",
        "ITS": "I think I've seen this before",
        "TSI": "The surface is slick",
        "WSI": "We'll stop in a couple of minutes",
    }

    def items(self, root: Path) -> Iterator[Item]:
        for video in videos(root):
            codes = video.stem.split("_")
            if len(codes) != 4 or codes[2] not in self.labels:
                continue
            sound = root / "AudioWAV" / f"{video.stem}.wav"
            yield Item(
                name=video.stem,
                speaker=f"crema-{codes[0]}",
                video=video,
                sound=sound if sound.exists() else None,
                emotion=self.labels[codes[2]],
                intensity=self.levels.get(codes[3], 2 / 3),
                text=self.sentences.get(codes[1], ""),
                licence=self.licence,
            )


class Lrs3:
    """LRS3-TED (Afouras et al. 2018): cropped faces of talks with transcripts."""

    name = "lrs3"
    layout = "ROOT/trainval/VIDEO_ID/00001.mp4 and 00001.txt beside it (also pretrain/, test/)"
    licence = "research only (TED, CC BY-NC-ND)"

    def items(self, root: Path) -> Iterator[Item]:
        for video in sorted(root.rglob("*.mp4")):
            words = video.with_suffix(".txt")
            text = ""
            if words.exists():
                first = words.read_text().splitlines()[0] if words.stat().st_size else ""
                text = first.removeprefix("Text:").strip().capitalize()
            speaker = video.parent.name
            yield Item(
                name=f"{video.parts[-3]}_{speaker}_{video.stem}",
                speaker=f"lrs3-{speaker}",
                video=video,
                text=text,
                licence=self.licence,
            )


class VoxCeleb2:
    """VoxCeleb2 (Chung et al. 2018), which the paper trained on: pictures and sound in separate trees."""

    name = "voxceleb2"
    layout = "ROOT/dev/mp4/id00012/VIDEO_ID/00001.mp4 and ROOT/dev/aac/id00012/VIDEO_ID/00001.m4a"
    licence = "CC BY-NC-SA 4.0 (annotations)"

    def items(self, root: Path) -> Iterator[Item]:
        for video in sorted(root.glob("**/mp4/id*/*/*.mp4")):
            tree, speaker = video.parents[3], video.parts[-3]
            sound = tree / "aac" / speaker / video.parts[-2] / f"{video.stem}.m4a"
            yield Item(
                name=f"{speaker}_{video.parts[-2]}_{video.stem}",
                speaker=f"vox-{speaker}",
                video=video,
                sound=sound if sound.exists() else None,
                licence=self.licence,
            )


class Folder:
    """Any videos of people speaking; a JSON file beside one may name speaker, emotion, intensity, text."""

    name = "folder"
    layout = (
        "ROOT/**/NAME.mp4 (mkv, mov, ...), optionally NAME.json; the folder is the speaker, else the file"
    )
    licence = "yours"

    def items(self, root: Path) -> Iterator[Item]:
        for video in videos(root):
            note = video.with_suffix(".json")
            about = read_json(note) if note.exists() else {}
            own = video.stem if video.parent == root else video.parent.name
            yield Item(
                name="_".join(video.relative_to(root).with_suffix("").parts),
                speaker=str(about.get("speaker", own)),
                video=video,
                emotion=about.get("emotion"),
                intensity=float(about.get("intensity", 1.0)),
                text=str(about.get("text", "")),
                licence=str(about.get("licence", "")),
            )


SOURCES: dict[str, Source] = {
    source.name: source
    for source in (Synthetic(), Grid(), Mead(), Ravdess(), CremaD(), Lrs3(), VoxCeleb2(), Folder())
}


def read_source(name: str, root: Path) -> list[Item]:
    """List the recordings of a data set.

    Raises:
        UserError: unknown data set, no such folder, or nothing in it that fits the layout.
    """
    if name not in SOURCES:
        raise UserError(f"there is no data set {name!r}; known are {', '.join(SOURCES)}")
    if not root.is_dir():
        raise UserError(f"{root} is not a folder; give the root of the {name} data set")
    items = list(SOURCES[name].items(root))
    if not items:
        raise UserError(f"nothing under {root} looks like {name}; expected {SOURCES[name].layout}")
    return items
