"""The log's file while many write, its files change and the level does."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from flow_manager_core.log import ROOT, get_log
from flow_manager_core.log_file import LogFile
from flow_manager_core.logs import ConsoleFormatter

WRITERS, LINES = 8, 400
SIZE, KEPT = 16 * 1024, 60


def test_no_line_is_torn_lost_or_written_twice_while_files_and_levels_change(
    tmp_path: Path,
) -> None:
    trouble: list[str] = []
    path = tmp_path / "flow-manager.log"
    handler = LogFile(path, SIZE, KEPT, lambda *told: trouble.append(str(told)))
    handler.setFormatter(ConsoleFormatter())
    logger = logging.getLogger(ROOT)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    over = threading.Event()

    def write(number: int) -> None:
        log = get_log(f"load{number}")
        for count in range(LINES):
            log.warning("Line", writer=number, count=count, filling="x" * 40)
            log.debug("Unsteady", writer=number, count=count)

    def change() -> None:
        while not over.is_set():
            logger.setLevel(logging.DEBUG)
            logger.setLevel(logging.WARNING)

    changer = threading.Thread(target=change)
    writers = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    changer.start()
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    changer.join()
    logger.removeHandler(handler)
    logger.setLevel(level)
    handler.close()

    assert not trouble
    files = sorted(tmp_path.iterdir(), key=lambda each: -int(each.suffix[1:].replace("log", "0")))
    assert 5 < len(files) <= KEPT + 1
    assert all(file.stat().st_size <= SIZE for file in files)
    lines = [line for file in files for line in file.read_text().splitlines()]
    for number in range(WRITERS):
        own = [line for line in lines if line.startswith(f"[WARNING] Line, writer={number}, ")]
        assert own == [
            f"[WARNING] Line, writer={number}, count={count}, filling={'x' * 40}"
            for count in range(LINES)
        ]
    assert all(line.startswith(("[WARNING] Line, ", "[DEBUG] Unsteady, ")) for line in lines)
