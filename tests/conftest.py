"""Fixtures that several packages share."""

from __future__ import annotations

from pathlib import Path

import pytest

from emogene.persona.corpus import build_corpus


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of about a minute by two synthetic people, spoken by the built-in voice."""
    out = tmp_path_factory.mktemp("corpus") / "tiny"
    build_corpus(out, 0.015, seed=3, speakers=2, engines=("formant",), workers=1)
    return out
