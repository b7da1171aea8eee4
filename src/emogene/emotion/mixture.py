"""One moment's emotion as text: ``happy``, ``happy:0.7``, ``0.6 happy + 0.4 surprise`` -> 8 doses."""

from __future__ import annotations

import re

from emogene.emotion.labels import resolve
from emogene.emotion.track import LARGEST_DOSE, doses_of
from emogene.errors import UserError

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_DOSE = re.compile(rf"({NUMBER})\s*(%?)")
_DOSE_FIRST = re.compile(rf"({NUMBER}\s*%?)\s*\*?\s*(\D.*)")
_DOSE_LAST = re.compile(rf"(.*?[^\d.+-])(?:\s*[:=]\s*|\s+)({NUMBER}\s*%?)")


def parse_mixture(text: str) -> tuple[float, ...]:
    """Read ``happy:0.5+surprise:0.3`` as 8 doses in label order; parts without a dose share the rest of 1."""
    parts = [_parse_part(part, text) for part in text.split("+")]
    given = sum(dose for _, dose in parts if dose is not None)
    open_parts = [label for label, dose in parts if dose is None]
    if open_parts and given >= 1.0:
        raise UserError(f"{open_parts[0]!r} in {text.strip()!r} needs a dose, as in {open_parts[0]}:0.5")
    share = (1.0 - given) / len(open_parts) if open_parts else 0.0
    doses: dict[str, float] = {}
    for label, dose in parts:
        doses[label] = doses.get(label, 0.0) + (share if dose is None else dose)
    return doses_of(doses)


def _parse_part(part: str, whole: str) -> tuple[str, float | None]:
    """Read one ``label``, ``label:dose`` or ``dose label``."""
    part = part.strip()
    if re.fullmatch(r"[\d\s:=.%*-]*", part):
        raise UserError(f"no emotion is named in {whole.strip()!r}; write for example happy:0.5+surprise:0.3")
    if found := _DOSE_LAST.fullmatch(part):
        return resolve(found.group(1)), _parse_dose(found.group(2), found.group(1))
    if found := _DOSE_FIRST.fullmatch(part):
        return resolve(found.group(2)), _parse_dose(found.group(1), found.group(2))
    if ":" in part:
        label, _, dose = part.partition(":")
        raise UserError(f"{dose.strip()!r} is not a dose of {resolve(label)}; write a number from 0 to 1")
    return resolve(part), None


def _parse_dose(text: str, label: str) -> float:
    found = _DOSE.fullmatch(text.strip())
    assert found is not None
    dose = float(found.group(1)) / (100.0 if found.group(2) else 1.0)
    if not 0.0 <= dose <= LARGEST_DOSE:
        raise UserError(
            f"dose {dose:g} of {label.strip()} is not possible; "
            f"use 0 to 1 (up to {LARGEST_DOSE:g} exaggerates)"
        )
    return dose
