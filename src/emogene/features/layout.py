"""How long sound is cut for models that need context on both sides."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BlockLayout:
    """Rows (20 ms) per block and of context before and after it.

    A stream gives a block's rows ``right`` rows after the block has ended.
    """

    core: int
    left: int
    right: int

    def __post_init__(self) -> None:
        if self.core < 1 or self.left < 0 or self.right < 0:
            raise ValueError(f"a block needs at least one row and no negative context, not {self}")

    @property
    def rows(self) -> int:
        return self.core + self.left + self.right
