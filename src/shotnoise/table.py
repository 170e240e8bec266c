"""A literal table of names: what recipes and commands may call by name, resolved on first use.

Every extensible room (networks, noise, pairs, methods, engines) and the command line has one. An entry is
``name -> ("module:attribute", "one-line summary")``; nothing registers itself, and nothing is imported before it is
asked for.
"""

import importlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from shotnoise.errors import RecipeError, nearest

__all__ = ["Table"]


class Table(Mapping[str, str]):
    """Name -> summary, with the objects behind the names.

    Args:
        kind: what an entry is, for error messages: "network", "noise model".
        entries: the table itself.
    """

    def __init__(self, kind: str, entries: Mapping[str, tuple[str, str]]) -> None:
        self.kind = kind
        self._entries = dict(sorted(entries.items()))

    def __getitem__(self, name: str) -> str:
        return self._entries[name][1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def resolve(self, name: str) -> Any:
        """The object behind a name."""
        if name not in self._entries:
            raise RecipeError(f"unknown {self.kind} '{name}': {nearest(name, self)}")
        module, attribute = self._entries[name][0].split(":")
        return getattr(importlib.import_module(module), attribute)

    def create(self, name: str, arguments: Mapping[str, Any] | None = None, **fixed: Any) -> Any:
        """Call the object behind a name with keyword arguments; an unknown keyword names the nearest known one.

        Args:
            name: entry of the table.
            arguments: what the user may set.
            fixed: what the caller sets; not offered to users.
        """
        factory = self.resolve(name)
        known = [
            parameter.name
            for parameter in inspect.signature(factory).parameters.values()
            if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
            and parameter.name not in fixed
        ]
        for argument in arguments or {}:
            if argument not in known:
                raise RecipeError(f"{self.kind} '{name}' has no option '{argument}': {nearest(argument, known)}")
        try:
            return factory(**(arguments or {}), **fixed)
        except TypeError as error:
            raise RecipeError(f"{self.kind} '{name}' cannot be made from {dict(arguments or {})}: {error}") from None
