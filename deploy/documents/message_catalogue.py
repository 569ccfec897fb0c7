"""What the programs say when something is wrong, read from their own source: no sentence is written down twice.

In: a module's file. Out: the sentences of its errors and of its findings, with … where a value is put in.
"""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final, TypeVar

VALUE: Final = "…"
Place = TypeVar("Place", ast.Raise, ast.Call)
_ERRORS: Final = ("Error", "Absent")  # how the names of our errors end


@dataclass(frozen=True)
class Message:
    """A sentence: what is said, and after its first semicolon what to do; `mark` and `what` are a finding's own."""

    said: str
    remedy: str
    mark: str = ""
    what: str = ""


def error_messages(file: Path) -> list[Message]:
    """Return the sentences of all errors that a module raises itself, in the order of its lines."""
    module = _Module(file)
    raised = (node.exc for node in module.walk(ast.Raise) if isinstance(node.exc, ast.Call))
    ours = (call for call in raised if _name(call.func).endswith(_ERRORS) and call.args)
    return _distinct(_split(text) for call in ours for text in module.texts(call.args[0], call))


def finding_messages(file: Path) -> list[Message]:
    """Return the lines of a check that are no `ok`, in the order of the module's lines."""
    module, found = _Module(file), list[Message]()
    for call in module.walk(ast.Call):
        if _name(call.func) != "Finding" or len(call.args) != 3:
            continue
        marks, whats, sentences = (module.texts(arg, call) for arg in call.args)
        for mark, what, text in product(marks, whats, sentences):
            if mark in {"warn", "fail"} and text.strip(VALUE + " ;"):
                said = _split(text)
                found.append(Message(said.said, said.remedy, mark, what))
    return _distinct(found)


class _Module:
    """A parsed module that can say which text an expression may be."""

    def __init__(self, file: Path) -> None:
        self._tree = ast.parse(file.read_text(encoding="utf-8"))
        self._scopes = [one for one in ast.walk(self._tree) if isinstance(one, ast.FunctionDef)]

    def walk(self, kind: type[Place]) -> list[Place]:
        """Return all nodes of a kind, in the order of the module's lines."""
        found = [node for node in ast.walk(self._tree) if isinstance(node, kind)]
        return sorted(found, key=lambda node: (node.lineno, node.col_offset))

    def texts(self, node: ast.expr, at: ast.expr | ast.stmt) -> list[str]:
        """Return every text that an expression in the call `at` may be; `…` for a part that only a run knows."""
        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.JoinedStr(values=parts):
                return _joined(self._part(part, at) for part in parts)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return _joined((self.texts(left, at), self.texts(right, at)))
            case ast.IfExp(body=body, orelse=orelse):
                return [*self.texts(body, at), *self.texts(orelse, at)]
            case ast.Name(id=name):
                return self._assigned(name, at) or [VALUE]
        return [VALUE]

    def _part(self, part: ast.expr, at: ast.expr | ast.stmt) -> list[str]:
        if isinstance(part, ast.FormattedValue):
            plain = part.value if isinstance(part.value, ast.Name) and part.format_spec is None else None
            found = [] if plain is None else self._assigned(plain.id, at)
            return found if found and all(" " in text for text in found) else [VALUE]
        return self.texts(part, at)

    def _assigned(self, name: str, at: ast.expr | ast.stmt) -> list[str]:
        """Return the texts last given to a name before a call; of an if both branches' where each gives one."""
        inside = [one for one in self._scopes if one.lineno <= at.lineno <= (one.end_lineno or 0)]
        scope: ast.AST = max(inside, key=lambda one: one.lineno) if inside else self._tree
        for place in (scope, self._tree):
            given = [one for one in ast.walk(place) if isinstance(one, ast.Assign) and _gives(one, name)]
            before = sorted((one for one in given if one.lineno < at.lineno), key=lambda one: one.lineno)
            if before:
                last = before[-1]
                chosen = [last, *(one for one in before[:-1] if _other_branch(place, one, last, at))]
                chosen.sort(key=lambda one: one.lineno)
                return [text for one in chosen for text in self.texts(one.value, one)]
        return []


def _gives(assignment: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in assignment.targets)


def _other_branch(place: ast.AST, one: ast.stmt, other: ast.stmt, at: ast.expr | ast.stmt) -> bool:
    """Tell whether two assignments are the branches of one if that is over before the call."""
    ifs = (one for one in ast.walk(place) if isinstance(one, ast.If) and (one.end_lineno or 0) < at.lineno)
    return any(_holds(branch.body, one) and _holds(branch.orelse, other) for branch in ifs)


def _holds(body: list[ast.stmt], one: ast.stmt) -> bool:
    return any(one is node for line in body for node in ast.walk(line))


def _joined(parts: Iterable[list[str]]) -> list[str]:
    return ["".join(texts) for texts in product(*parts)]


def _split(text: str) -> Message:
    said, _, remedy = re.sub(f"{VALUE}+", VALUE, " ".join(text.split())).partition("; ")
    return Message(said, remedy)


def _distinct(messages: Iterable[Message]) -> list[Message]:
    return list(dict.fromkeys(messages))


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
