"""What a setting is called in the file, on the command line and in the environment.

A provider's section is its name, or its kind and name (``transport_tcp``). The short form is gone
where it could mean something else as well: a setting of the manager, or a provider of another kind.
A variable that could mean two settings means neither.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs
from attrs import frozen

from flow_manager_core.providers import Provider
from flow_manager_core.setting_values import settings_fields
from flow_manager_core.settings import Settings

PREFIX = "FLOW_MANAGER_"
CORE = frozenset(attribute.name for attribute in attrs.fields(Settings))
#: The file of settings itself.
CONFIG_VARIABLES = (f"{PREFIX}CONFIG_FILE", "CONFIG_FILE")


@frozen
class Names:
    """All names of all settings.

    Args:
        sections: a provider's qualified name to its sections; the first is how it is shown.
        unclear: what a section or variable that is nobody's could have meant.
    """

    sections: Mapping[str, tuple[str, ...]]
    unclear: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, providers: Sequence[Provider]) -> Names:
        """Give every provider its names."""
        claims: dict[str, list[str]] = {}
        for provider in providers:
            claims.setdefault(provider.name, []).append(provider.qualified)
        qualified = {provider.qualified for provider in providers}
        sections = {
            provider.qualified: (
                *([provider.name] if _is_clear(provider.name, claims, qualified) else []),
                provider.qualified,
            )
            for provider in providers
        }
        unclear = {
            name: tuple(owners)
            for name, owners in claims.items()
            if name not in CORE | qualified and len(owners) > 1
        }
        return cls(sections, {**unclear, **_unclear_variables(providers, sections)})

    def known_variables(self, providers: Sequence[Provider]) -> set[str]:
        """Every name in the environment that is read, or refused as unclear."""
        bare = {name for a in attrs.fields(Settings) for name in a.metadata.get("env", ())}
        own = {
            name
            for provider in providers
            for field in settings_fields(provider.settings_class)
            for name in self.variables(provider, field)
        }
        return {*_TAKEN, *bare, *own, *self.unclear}

    def variables(self, provider: Provider, field: str) -> list[str]:
        """The environment's names of a provider's field."""
        names = [variable(section, field) for section in self.sections[provider.qualified]]
        return [name for name in names if name not in self.unclear and name not in _TAKEN]


def variable(section: str, field: str) -> str:
    """The environment's name of a field; of the manager's own with an empty section."""
    whole = f"{section}_{field}" if section else field
    return PREFIX + re.sub(r"\W", "_", whole).upper()


#: What the manager's own settings are called; no provider's setting takes that away.
_TAKEN = frozenset([variable("", field) for field in CORE]) | frozenset(CONFIG_VARIABLES)


def _is_clear(name: str, claims: Mapping[str, Sequence[str]], qualified: set[str]) -> bool:
    return len(claims[name]) == 1 and name not in CORE | qualified


def _unclear_variables(
    providers: Sequence[Provider], sections: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    claims: dict[str, set[str]] = {}
    for provider in providers:
        for field in settings_fields(provider.settings_class):
            for section in sections[provider.qualified]:
                owner = f"{provider.qualified}.{field}"
                claims.setdefault(variable(section, field), set()).add(owner)
    return {
        name: tuple(sorted(owners))
        for name, owners in claims.items()
        if len(owners) > 1 and name not in _TAKEN
    }
