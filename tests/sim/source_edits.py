"""A method of the core with a few words of its source replaced, for as long as a context lasts.

    with edited(Edit(Client, "on_result", ">= self._weak", ">= 1")):
        ...

The text that is replaced must be there exactly once: a defect that no longer fits the source is
an error, not a defect that is never found. Objects made before keep what they have bound.
"""

import inspect
import textwrap
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    owner: type  # or a module
    method: str
    old: str
    new: str

    def applied(self, source):
        """The edited text. Raises LookupError if `old` is not there once."""
        count = source.count(self.old)
        if count != 1:
            place = f"{self.owner.__name__}.{self.method}"
            raise LookupError(f"{place} has {count} times {self.old!r}, should have it once")
        return source.replace(self.old, self.new)


@dataclass(frozen=True)
class Defect:
    name: str
    words: str
    hunts: tuple
    edits: tuple


def defect(name, words, hunts, *edits):
    return Defect(name, words, tuple(hunts.split()), tuple(Edit(*edit) for edit in edits))


@contextmanager
def edited(*edits):
    """The classes with these edits, of which several may concern one method."""
    places = list(dict.fromkeys((edit.owner, edit.method) for edit in edits))
    before = [inspect.getattr_static(*place) for place in places]
    after = [
        _compiled(function, [edit for edit in edits if (edit.owner, edit.method) == place])
        for place, function in zip(places, before, strict=True)
    ]
    try:
        for place, function in zip(places, after, strict=True):
            setattr(*place, function)
        yield
    finally:
        for place, function in zip(places, before, strict=True):
            setattr(*place, function)


def _compiled(function, edits):
    source = textwrap.dedent(inspect.getsource(function))
    for edit in edits:
        source = edit.applied(source)
    names = {}
    exec(compile(source, inspect.getsourcefile(function), "exec"), function.__globals__, names)
    return names[function.__name__]
