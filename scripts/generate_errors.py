"""Writes docs/reference/errors.md from the classes of headrace.errors."""

import inspect

from headrace.errors import HeadraceError, catalogue
from scripts.generated import publish

INTRODUCTION = """
# Errors

Every error of headrace has a code and says what happened, where, why, and what to do.
`headrace explain CODE` prints what stands here. In Python the class is what you catch;
`.code`, `.what`, `.where`, `.why` and `.hint` are its parts.
"""


def entry(code: str, error: type[HeadraceError]) -> str:
    parent = error.__mro__[1].__name__
    return f"## {code} {error.__name__}\n\n{inspect.getdoc(error)}\n\nIs a `{parent}`."


if __name__ == "__main__":
    entries = [entry(code, error) for code, error in catalogue().items()]
    publish("reference/errors.md", __file__, "\n\n".join([INTRODUCTION.strip(), *entries]))
