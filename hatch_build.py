"""Compiles the native render kernels when a C++ compiler is there; without one the package still works."""

import importlib.util
import pathlib

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeKernels(BuildHookInterface):
    def initialize(self, version, build_data):
        path = pathlib.Path(self.root) / "src/emogene/render/native/build.py"
        if not path.exists():
            return
        spec = importlib.util.spec_from_file_location("emogene_native_build", path)
        build = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(build)
        library = build.compile_library()
        if library is None:
            self.app.display_warning("no C++ compiler: rendering will use the slower torch path")
        else:
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
