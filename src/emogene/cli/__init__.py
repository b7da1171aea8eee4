"""The command line: `emogene COMMAND ...`. Each command is one function in a module of this folder.

Only the chosen command's module is imported, so that `emogene --help` answers at once. A user's mistake
is one line on standard error and exit code 2; a traceback means a fault of ours.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Sequence

from emogene import __version__
from emogene.errors import UserError

COMMANDS = {
    "speak": ("emogene.cli.speak:speak", "a video of an avatar speaking your audio with an emotion"),
    "demo": ("emogene.cli.demo:demo", "the built-in persona speaks the bundled sample: demo.mp4"),
    "create": ("emogene.cli.create:create", "an avatar of a person from a short video"),
    "avatars": ("emogene.cli.avatars:avatars", "list the avatars at hand"),
    "train": ("emogene.cli.train:SUBCOMMANDS", "train motion, sync, emotion, render or features"),
    "data": ("emogene.cli.data:SUBCOMMANDS", "prepare data sets; build the synthetic corpus"),
    "evaluate": ("emogene.cli.evaluate:SUBCOMMANDS", "measure videos, avatars and whole systems"),
    "study": ("emogene.cli.study:SUBCOMMANDS", "a blinded user study: build its page, score the answers"),
    "bench": ("emogene.cli.bench:SUBCOMMANDS", "measure speed on this machine"),
    "assets": ("emogene.cli.assets:assets", "list or fetch the pretrained parts, with their licences"),
    "doctor": ("emogene.cli.doctor:doctor", "say what this machine has and what is missing"),
}
"""Command -> ("module:function" or "module:SUBCOMMANDS", one line of help)."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.WARNING, format="emogene: %(message)s")
    # Read by torch's thread pool when it is loaded: waiting threads sleep. Spinning, they take the cores from
    # the render kernels (half of all CPU time on two cores).
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(_overview())
        return 0
    if arguments[0] in ("-V", "--version"):
        sys.stdout.write(f"emogene {__version__}\n")
        return 0
    try:
        return _dispatch(arguments[0], arguments[1:])
    except UserError as error:
        sys.stderr.write(f"emogene: {error}\n")
        return 2
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("emogene: stopped\n")
        return 130


def _dispatch(command: str, arguments: list[str]) -> int:
    if command not in COMMANDS:
        import difflib

        close = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "see `emogene --help`"
        raise UserError(f"there is no command {command!r}; {hint}")
    import tyro

    module_name, _, attribute = COMMANDS[command][0].partition(":")
    target = getattr(importlib.import_module(module_name), attribute)
    program = f"emogene {command}"
    if isinstance(target, dict):
        tyro.extras.subcommand_cli_from_dict(target, prog=program, args=arguments, sort_subcommands=False)
    else:
        tyro.cli(target, prog=program, args=arguments)
    return 0


def _overview() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{help_line}" for name, (_, help_line) in COMMANDS.items()]
    return "\n".join(
        [
            f"emogene {__version__}: speech and an emotion in, a talking portrait of a person out.",
            "",
            "usage: emogene COMMAND [options]      (emogene COMMAND --help explains one)",
            "",
            *lines,
            "",
            'first steps: emogene demo; emogene speak speech.wav --emotion "happy:0.8" -o hello.mp4',
            "",
        ]
    )
