"""`Args:` and `Raises:` of the package say what the code does.

pydoclint wants a line of its own for each name, sections in the shortest of docstrings, and no
exception that a called function raises; here "out, stream: As in `draw`" is one line, and `Raises:`
is what a caller meets. So ruff has those of its rules that hold anyway, and this has the rest.
"""

import ast
import builtins
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from repository import ROOT

from harmonizer import errors

PACKAGE = ROOT / "runtime" / "harmonizer"
MODULES = sorted(PACKAGE.rglob("*.py"))

Function = ast.FunctionDef | ast.AsyncFunctionDef


def section(docstring: str, title: str) -> list[str] | None:
    """Names at the beginning of a section's entries; None without the section."""
    found = re.search(rf"^( *){title}:\n((?:\1 +.*\n?|\s*\n)+)", docstring + "\n", re.MULTILINE)
    if found is None:
        return None
    entries = re.findall(rf"^{found[1]}    (\S[^:\n]*):", found[2], re.MULTILINE)
    return [name.strip(" *") for entry in entries for name in entry.split(",")]


def documented(tree: ast.Module) -> Iterator[tuple[Function, str]]:
    """Functions and methods, with the docstring that tells their arguments."""
    for node in tree.body:
        if isinstance(node, Function):
            yield node, ast.get_docstring(node) or ""
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for part in node.body:
                if isinstance(part, Function):
                    own = node if part.name == "__init__" else part
                    yield part, ast.get_docstring(own) or ""


def arguments(function: Function) -> list[str]:
    given = function.args
    names = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    return [a.arg for a in names if a is not None and a.arg not in ("self", "cls")]


def raised(node: ast.AST) -> Iterator[str]:
    """Classes that are raised here, but for those that are caught here."""
    if isinstance(node, ast.Try):
        caught = {
            getattr(name, "id", "")
            for handler in node.handlers
            for name in ast.walk(handler.type or ast.Name("Exception"))
        }
        for tried in node.body:
            yield from (name for name in raised(tried) if name not in caught)
        for rest in (*node.handlers, *node.orelse, *node.finalbody):
            yield from raised(rest)
        return
    if isinstance(node, ast.With) and any(_may_translate(item) for item in node.items):
        return
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        name = getattr(node.exc.func, "id", "")
        if name[:1].isupper() and name not in ("KeyboardInterrupt", "AssertionError"):
            yield name
    for part in ast.iter_child_nodes(node):
        if not isinstance(part, Function | ast.Lambda):
            yield from raised(part)


def _may_translate(item: ast.withitem) -> bool:
    """Whether a context of the module's own may make another error of what is raised in it."""
    called = item.context_expr
    return isinstance(called, ast.Call) and getattr(called.func, "id", "").startswith("_")


def covers(stated: str, name: str) -> bool:
    """Whether a class, or one above it, is among those that are stated."""
    kind = getattr(builtins, name, None) or getattr(errors, name, None)
    names = [name] if kind is None else [above.__name__ for above in kind.__mro__[:-3]]
    return any(above in stated for above in names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_docstring_names_the_arguments_and_what_is_raised(path: Path) -> None:
    for function, docstring in documented(ast.parse(path.read_text(encoding="utf-8"))):
        where = f"{path.name}:{function.lineno} {function.name}"
        named = section(docstring, "Args")
        if named is not None and not docstring.startswith("See "):
            assert sorted(named) == sorted(arguments(function)), where
        public = not (function.name.startswith("_") or path.name.startswith("_"))
        # What commands raise is said once, in `cli.main`; an interface says it for who keeps it.
        if public and path.parent.name != "cli" and not docstring.startswith("See `"):
            stated = docstring.partition("Raises:")[2]
            came = {name for part in function.body for name in raised(part)}
            missing = {name for name in came if not covers(stated, name)}
            assert "As `" in stated or "As in `" in stated or not missing, (where, missing)
