"""Fuzzes what hostile flows and clumsy clients send; ``nox -s fuzz -- --seconds 600`` runs this.

A loop of mutations, guided by outcomes: an input with an outcome that was not seen before becomes
material for further ones. At the end it prints its figures. A crash prints the input and a command
that repeats it, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import base64
import random
import sys
import time
import traceback
from collections.abc import Mapping

from attrs import define, field

from tests.fuzz.targets import TARGETS, Target

#: Inputs that are kept as material.
MATERIAL = 4000
#: Inputs between two looks at the clock.
BATCH = 200


@define
class Campaign:
    """The fuzzing of one target."""

    name: str
    target: Target
    seed: int
    tried: int = 0
    outcomes: set[str] = field(factory=set)
    crash: bytes | None = None

    def run(self, seconds: float) -> None:
        """Fuzz until the time is up, or an input crashes."""
        # Whatever else is fuzzed, one seed gives this target the same inputs in the same order.
        chance = random.Random(f"{self.seed} {self.name}")
        material = list(self.target.seeds)
        end = time.monotonic() + seconds
        while self.crash is None and (self.tried == 0 or time.monotonic() < end):
            for _ in range(BATCH):
                data = self.target.mutate(chance, chance.choice(material), chance.choice(material))
                if not self.attempt(data):
                    break
                if len(self.outcomes) > len(material) - len(self.target.seeds) < MATERIAL:
                    material.append(data)

    def attempt(self, data: bytes) -> bool:
        """Try one input; whether it kept what is promised."""
        self.tried += 1
        try:
            self.outcomes.add(self.target.check(data))
        except Exception:  # noqa: BLE001  # that is what is looked for
            traceback.print_exc()
            self.crash = data
        return self.crash is None

    def figures(self) -> str:
        """One line for people."""
        crashes = int(self.crash is not None)
        return (
            f"{self.name:<10} inputs tried {self.tried:>9,}  distinct outcomes"
            f" {len(self.outcomes):>6,}  crashes {crashes}  seed {self.seed}"
        )


def fuzz(targets: Mapping[str, Target], seconds: float, seed: int) -> bool:
    """Fuzz targets one after the other; whether nothing crashed."""
    campaigns = [Campaign(name, target, seed) for name, target in targets.items()]
    for campaign in campaigns:
        campaign.run(seconds / len(campaigns))
        print(campaign.figures(), flush=True)
        if campaign.crash is not None:
            text = base64.b64encode(campaign.crash).decode()
            print(f"crash: {text}\nagain: python -m tests.fuzz.run {campaign.name} --input {text}")
    print(f"total inputs tried {sum(c.tried for c in campaigns):,}")
    return all(campaign.crash is None for campaign in campaigns)


def main(arguments: list[str] | None = None) -> int:
    """Read the arguments, fuzz, give the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; left out: all")
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together (60)")
    parser.add_argument("--seed", type=int, default=None, help="left out: a new one")
    parser.add_argument("--input", help="one input in base64, instead of fuzzing")
    asked = parser.parse_args(arguments)
    strangers = [name for name in asked.targets if name not in TARGETS]
    if strangers or (asked.input is not None and len(asked.targets) != 1):
        parser.error(f"choose of {', '.join(TARGETS)}, and one of them with --input")
    chosen = {name: TARGETS[name] for name in asked.targets or TARGETS}
    if asked.input is not None:
        print(next(iter(chosen.values())).check(base64.b64decode(asked.input)))
        return 0
    seed = random.SystemRandom().randrange(2**32) if asked.seed is None else asked.seed
    return 0 if fuzz(chosen, asked.seconds, seed) else 1


if __name__ == "__main__":
    sys.exit(main())
