"""What Python itself prints to standard error goes into the log instead, in its form."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs


@contextmanager
def caught_by(logger: logging.Logger) -> Iterator[None]:
    """Log warnings, and failures that have nobody to be raised to, until the context ends.

    Those are the ones of threads and of finalizers.
    """

    def log(
        told: str,
        kind: type[BaseException],
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A failure without a value: it was lost together with the memory for it.
        logger.error(told, exc_info=(kind, error or kind(), traceback))

    def of_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is not SystemExit:
            log("A thread failed", args.exc_type, args.exc_value, args.exc_traceback)

    def unraisable(args: UnraisableHookArgs) -> None:
        log("A failure in passing", args.exc_type, args.exc_value, args.exc_traceback)

    before = threading.excepthook, sys.unraisablehook
    threading.excepthook, sys.unraisablehook = of_thread, unraisable
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        threading.excepthook, sys.unraisablehook = before
