"""Small changes to a module's source, one at a time, each of which some test should notice.

Left alone is what only people read: docstrings, annotations, texts of errors, words of enums.
"""

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_COMPARED: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_COMPUTED: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_SWAPPED: Final = {"min": "max", "max": "min", "any": "all", "all": "any"}
_FEWEST_TO_DROP_FROM: Final = 2


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change. name says it: function, before, after; it does not depend on line numbers."""

    module: str
    name: str
    line: int
    source: str


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a module's source, in the order of the text."""
    tree = ast.parse(source)
    seen: Counter[str] = Counter()
    for slot in tuple(_slots(tree, "module")):
        original = slot.get()
        for replacement in _replacements(original):
            before, after = _shown(original), _shown(replacement)
            name = f"{slot.function}: {before} => {after}"
            seen[name] += 1
            if seen[name] > 1:
                name += f" (#{seen[name]})"
            slot.put(replacement)
            yield Mutant(module, name, getattr(original, "lineno", 0), ast.unparse(tree))
            slot.put(original)


# ---- where ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Slot:
    """A place in the tree where a node stands."""

    function: str
    parent: ast.AST
    field: str
    index: int | None

    def get(self) -> ast.AST:
        value = getattr(self.parent, self.field)
        found = value if self.index is None else value[self.index]
        assert isinstance(found, ast.AST)
        return found

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def _slots(node: ast.AST, function: str) -> Iterator[_Slot]:
    for field, value in ast.iter_fields(node):
        if _for_people(node, field):
            continue
        several = isinstance(value, list)
        for index, child in enumerate(value if several else [value]):
            if not isinstance(child, ast.AST) or _untouched(node, child):
                continue
            yield _Slot(function, node, field, index if several else None)
            yield from _slots(child, _inside(function, child))


def _inside(function: str, node: ast.AST) -> str:
    if not isinstance(node, ast.FunctionDef | ast.ClassDef):
        return function
    return node.name if function == "module" else f"{function}.{node.name}"


def _for_people(node: ast.AST, field: str) -> bool:
    if field in {"annotation", "returns", "decorator_list", "bases", "msg"}:
        return True
    return isinstance(node, ast.Raise) or (
        isinstance(node, ast.FunctionDef) and node.name == "__repr__"
    )


def _untouched(parent: ast.AST, node: ast.AST) -> bool:
    match node:
        case ast.Expr(value=ast.Constant()):  # a docstring, or one of a value
            return True
        case ast.Import() | ast.ImportFrom() | ast.Assert() | ast.JoinedStr():
            return True
        case ast.Constant(value=str()):
            return isinstance(parent, ast.Assign)  # a word of an enum, or a type named in advance
        case ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
            return True
        case ast.Assign(targets=[ast.Name(id="__slots__")]):
            return True
        case _:
            return False


# ---- what ----------------------------------------------------------------------------------------


def _replacements(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.stmt():
            yield from _of_statement(node)
        case ast.Compare(ops=ops):
            for at, operator in enumerate(ops):
                changed = copy.copy(node)
                changed.ops = [*ops[:at], _COMPARED[type(operator)](), *ops[at + 1 :]]
                yield changed
        case ast.BinOp(left=left, op=op, right=right):
            yield ast.BinOp(left, _COMPUTED[type(op)](), right)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.IfExp(test=test, body=body, orelse=other):
            yield ast.IfExp(_negated(test), body, other)
        case ast.comprehension(ifs=[condition]):
            changed_filter = copy.copy(node)
            changed_filter.ifs = [_negated(condition)]
            yield changed_filter
        case ast.Call():
            yield from _of_call(node)
        case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements):
            yield from _with_one_less(node, elements)
        case ast.Constant(value=value):
            yield from (ast.Constant(changed) for changed in _of_constant(value))
        case _:
            pass


def _of_statement(node: ast.stmt) -> Iterator[ast.AST]:
    gone = ast.copy_location(ast.Pass(), node)
    match node:
        case ast.Expr() | ast.AugAssign() | ast.Delete() | ast.Raise():
            yield gone
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield gone
        case ast.Return(value=value) if value is not None and not _is_none(value):
            yield ast.Return(ast.Constant(None))
        case ast.If() | ast.While():
            changed = copy.copy(node)
            changed.test = _negated(node.test)
            yield changed
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
        case _:
            pass


def _of_call(node: ast.Call) -> Iterator[ast.AST]:
    for at in range(len(node.keywords)):
        yield ast.Call(node.func, node.args, [*node.keywords[:at], *node.keywords[at + 1 :]])
    if isinstance(node.func, ast.Name) and node.func.id in _SWAPPED:
        yield ast.Call(ast.Name(_SWAPPED[node.func.id], ast.Load()), node.args, node.keywords)


def _with_one_less(
    node: ast.Tuple | ast.List | ast.Set, elements: list[ast.expr]
) -> Iterator[ast.AST]:
    stored = not isinstance(node, ast.Set) and isinstance(node.ctx, ast.Store)
    if stored or len(elements) < _FEWEST_TO_DROP_FROM:
        return
    for at in range(len(elements)):
        changed = copy.copy(node)
        changed.elts = [*elements[:at], *elements[at + 1 :]]
        yield changed


def _of_constant(value: object) -> Iterator[bool | int | float | str | bytes]:
    match value:
        case bool():
            yield not value
        case int() | float():
            yield value + 1
            yield value - 1
        case bytes():
            yield value + b"?"
        case str():
            yield value + "?"
        case _:
            pass


def _negated(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _shown(node: ast.AST) -> str:
    """The first line of a node's source."""
    if isinstance(node, ast.comprehension):
        return " if ".join(ast.unparse(each) for each in [node.target, *node.ifs])
    return ast.unparse(node).partition("\n")[0]
