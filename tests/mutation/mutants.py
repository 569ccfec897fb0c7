"""Small mistakes in a source file: a comparison turned, a number changed, a sign swapped, a condition negated.

In: source text. Out: mutants, each the text with one mistake. Docstrings, annotations and texts are left alone, and so
are `strict` of zip and `repr` of a field: a mistake in them changes no result. Paths put together, texts made longer
and types joined by `|` are left alone too: the first line that runs would fail, and that flatters the tests.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One mistake: where, what stood there, what stands there now, and the whole text with it."""

    line: int
    before: str
    after: str
    text: str


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every mutant of a source text, in order."""
    begins = [0, *accumulate(len(line.encode()) for line in source.splitlines(keepends=True))]
    content = source.encode()
    for node in _places(ast.parse(source)):
        for changed in _changed(node):
            start = begins[node.lineno - 1] + node.col_offset
            end = begins[(node.end_lineno or 1) - 1] + (node.end_col_offset or 0)
            before, after = content[start:end].decode(), f"({ast.unparse(changed)})"
            text = (content[:start] + after.encode() + content[end:]).decode()
            yield Mutant(node.lineno, before, after[1:-1], text)


def _places(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield the expressions in which a mistake matters."""
    for name, value in ast.iter_fields(tree):
        if name in {"annotation", "returns", "decorator_list", "keywords"} and not isinstance(tree, ast.Call):
            continue
        for part in value if isinstance(value, list) else [value]:
            if (
                not isinstance(part, ast.AST)
                or isinstance(part, ast.JoinedStr | ast.Raise)
                or _is_silent(part)
            ):
                continue
            if isinstance(part, ast.expr):
                yield part
            yield from _places(part)


def _is_silent(node: ast.AST) -> bool:
    """Whether nothing that runs hangs on a part: a check of one's own, a name for the type checker."""
    match node:
        case ast.keyword(arg="strict" | "repr") | ast.Call(func=ast.Name(id="TypeVar")):
            return True
    return False


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _is_type(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=None):
            return True
        case ast.Name(id=name) | ast.Subscript(value=ast.Name(id=name)):
            return name[0].isupper() and not name.isupper()
    return False


def _changed(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Compare(left=left, ops=[one], comparators=[right]) if type(one) in _COMPARED:
            yield ast.Compare(left, [_COMPARED[type(one)]()], [right])
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _COMPUTED:
            if not any(_is_text(side) or _is_type(side) for side in (left, right)):
                yield ast.BinOp(left, _COMPUTED[type(op)](), right)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield ast.IfExp(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=float(value)):
            yield ast.Constant(value * 2 or 1.0)
