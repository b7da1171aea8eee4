"""Recorded people in languages other than English: prompts of telephone exchanges and one festival voice.

The built-in features learn from them beside English (``training.features``, recipe ``languages``). They are
packages of the operating system, read where it puts them:

    apt install --no-install-recommends asterisk-core-sounds-{it,es,fr,ru}-g722 \\
        asterisk-prompt-it-menardi-wav festvox-ru

or without installing, `apt download` the same and `dpkg -x PACKAGE.deb ROOT`, once each. None of these people
is a voice of the probe (``training.festival``), which no feature may learn from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emogene.errors import UserError

ROOT = Path("/")


@dataclass(frozen=True)
class Prompts:
    """One speaker: what they speak, who brings them, where their files lie, on what terms."""

    language: str
    package: str
    folder: str
    licence: str


PROMPTS = (
    Prompts("it", "asterisk-core-sounds-it-g722", "asterisk/sounds/it_IT_m_Carlo", "CC BY-SA 3.0"),
    Prompts("it", "asterisk-prompt-it-menardi-wav", "asterisk/sounds/it_IT_f_Menardi", "CC BY-SA 3.0"),
    Prompts("es", "asterisk-core-sounds-es-g722", "asterisk/sounds/es_MX_f_Allison", "CC BY-SA 3.0"),
    Prompts("fr", "asterisk-core-sounds-fr-g722", "asterisk/sounds/fr_CA_f_June", "CC BY-SA 3.0"),
    Prompts("ru", "asterisk-core-sounds-ru-g722", "asterisk/sounds/ru_RU_f_IvrvoiceRU", "CC BY 3.0"),
    Prompts("ru", "festvox-ru", "festival/voices/russian/msu_ru_nsh_clunits/wav", "BSD-like"),
)
"""Speakers, four hours together; the Italian woman at 8 kHz, the others at 16."""


def prompt_folders(root: Path = ROOT, prompts: Sequence[Prompts] = PROMPTS) -> list[Path]:
    """Folders of recordings, one of each speaker. Raises UserError when a package is not there."""
    folders = {speaker.package: root / "usr/share" / speaker.folder for speaker in prompts}
    missing = [package for package, folder in folders.items() if not folder.is_dir()]
    if missing:
        raise UserError(f"recordings are missing below {root}; apt install {' '.join(missing)}")
    return list(folders.values())
