"""One way to open OpenGL without a display."""

from __future__ import annotations

from typing import Any

from emogene.errors import UserError


def open_context() -> Any:
    """A GL context by EGL (llvmpipe where there is no GPU)."""
    try:
        import moderngl

        settings: dict[str, Any] = {"standalone": True, "backend": "egl"}
        return moderngl.create_context(**settings)
    except ImportError:
        raise UserError("drawing a persona needs moderngl; install emogene[persona]") from None
    except Exception as error:  # moderngl raises bare Exception when the driver is absent
        raise UserError(f"no OpenGL by EGL here ({error}); install libegl1 and libgl1-mesa-dri") from None
