"""`emogene evaluate sync`: how well the sync expert tells true mouths from moved ones."""

from __future__ import annotations

import sys
from pathlib import Path


def sync(
    data: list[Path],
    *,
    sync: Path | None = None,
    independent: Path | None = None,
    hold_out: list[str] | None = None,
    others: list[Path] | None = None,
    limit: int = 200,
    json_out: Path | None = None,
) -> None:
    """Measure the sync expert on real mouths, and on wrong ones that it must not take for true.

    Args:
        data: Folders of clips, see `emogene data prepare`; their noted A/V offsets are taken for true.
        sync: Sync expert's folder; default: the shipped one.
        independent: Folder of a second expert: the clips in which it finds a speaking mouth get a row of
            their own; default: the expert itself says so.
        hold_out: Speakers that training did not see ("unseen"); of the others every tenth clip is judged.
        others: Folders of clips judged as a group of their own.
        limit: Clips per group at most.
        json_out: Write the table there too.
    """
    from emogene.data.corpus import open_corpus, split_corpus
    from emogene.data.prepare import LEAST_CONFIDENCE
    from emogene.evaluate.motion import format_table, truths
    from emogene.evaluate.motion_judges import controls
    from emogene.evaluate.sync import evaluate_sync, speaking
    from emogene.features.extractor import load_extractor
    from emogene.features.prosody import prosody
    from emogene.io.files import write_json
    from emogene.motion.sync import load_sync

    expert, second = load_sync(sync), load_sync(independent or sync)
    ears, other_ears = (load_extractor(x.config.features) for x in (expert, second))
    _, held = split_corpus(open_corpus(data), hold_out or [])
    rows = {}
    for name, clips in (held | ({"others": open_corpus(others)} if others else {})).items():
        judged = truths(clips[:limit], ears, prosody)
        rows[name] = evaluate_sync(expert, judged) | controls(expert, judged)
        speakers = set(speaking(second, truths(clips[:limit], other_ears, prosody), LEAST_CONFIDENCE))
        if 0 < len(speakers) < len(judged):
            chosen = [clip for clip in judged if clip.name in speakers]
            title = f"{name}, {len(chosen)} of {len(judged)} speaking"
            rows[title] = evaluate_sync(expert, chosen) | controls(expert, chosen)
    sys.stdout.write(format_table(rows))
    if json_out is not None:
        write_json(json_out, rows)
