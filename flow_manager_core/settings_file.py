"""Reads the file of settings, TOML or JSON."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flow_manager_core.models import Fault


def read_settings_file(path: Path) -> tuple[Mapping[str, Any], list[Fault]]:
    """Read the file; its content is empty where the faults say that it cannot be used."""
    kind = "JSON" if path.suffix == ".json" else "TOML"
    try:
        raw = path.read_bytes()
        found = json.loads(raw) if kind == "JSON" else tomllib.loads(raw.decode())
    except OSError as error:
        return {}, [Fault(str(path), f"cannot be read: {error.strerror}")]
    except (ValueError, RecursionError) as error:
        return {}, [Fault(str(path), f"is not {kind}: {error}")]
    if not isinstance(found, dict):
        return {}, [Fault(str(path), "must hold an object")]
    return found, []
