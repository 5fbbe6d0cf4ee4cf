"""The programs of the image ``memory``: what they do is written in their command.

==========================  =====================================================================
``run [CODE]``              prints ``ready``, runs, exits with CODE (0) on SIGTERM; the default
``stubborn``                prints ``ready``, runs, ignores SIGTERM
``exit CODE [SECONDS]``     exits with CODE, after SECONDS
``die SIGNAL``              ends as if by that signal
``print JSON``              prints lines, from a list of pairs of stream and line
``tell KEY...``             prints environment variables, ``None`` for one not set
``remember``                prints ``new`` on its first run and ``kept`` on its later ones
``count``                   counts its runs in a file, and prints the number
``show FILE``               prints a file of the code folder
==========================  =====================================================================

Any other command cannot be started.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import anyio

from flow_manager_core.errors import EngineError
from flow_manager_core.testing.memory_container import MemoryFlow, Program


async def run(flow: MemoryFlow, code: str = "0") -> int:
    terminate = flow.catch_terminate()
    flow.print("ready")
    await terminate.wait()
    return int(code)


async def stubborn(flow: MemoryFlow) -> None:
    flow.catch_terminate()
    flow.print("ready")
    await anyio.sleep_forever()


async def leave(_flow: MemoryFlow, code: str, seconds: str = "0") -> int:
    await anyio.sleep(float(seconds))
    return int(code)


async def die(_flow: MemoryFlow, signal: str) -> int:
    return 128 + int(signal)


async def say(flow: MemoryFlow, lines: str) -> None:
    for stream, line in json.loads(lines):
        flow.print(line, stream)


async def tell(flow: MemoryFlow, *keys: str) -> None:
    for key in keys:
        flow.print(str(flow.environment.get(key)))


async def remember(flow: MemoryFlow) -> None:
    flow.print("kept" if "mark" in flow.files else "new")
    flow.files["mark"] = b""


async def count(flow: MemoryFlow) -> None:
    number = int(flow.files.get("runs", b"0")) + 1
    flow.files["runs"] = str(number).encode()
    flow.print(str(number))


async def show(flow: MemoryFlow, file: str) -> None:
    flow.print(flow.code[file].decode())


PROGRAMS: dict[str, Callable[..., Awaitable[int | None]]] = {
    "run": run,
    "stubborn": stubborn,
    "exit": leave,
    "die": die,
    "print": say,
    "tell": tell,
    "remember": remember,
    "count": count,
    "show": show,
}


def scripted(flow: MemoryFlow) -> Awaitable[int | None]:
    """Choose the program that the command names.

    Raises:
        EngineError: there is none of that name.
    """
    name, *args = flow.command or ("run",)
    program = PROGRAMS.get(name)
    if program is None:
        raise EngineError(f"There is no program {name} to start")
    return program(flow, *args)


#: One image, ``memory``, whose command names the program and its arguments.
SCRIPTED: dict[str, Program] = {"memory": scripted}
