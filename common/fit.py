"""Whether a value fits an annotation, given as source text."""

import ast
from functools import cache
from typing import Any


def fit(value: Any, annotation: str) -> tuple[Any, bool]:
    """(value in its one normal form, whether it fits the annotation); whole numbers serve as floats."""
    return _fit(value, _node(annotation))


@cache
def _node(annotation: str) -> ast.expr:
    return ast.parse(annotation, mode="eval").body


def _fit(value: Any, node: ast.expr) -> tuple[Any, bool]:
    match node:
        case ast.BinOp(left=left, right=right):
            fitted, fits = _fit(value, left)
            return (fitted, True) if fits else _fit(value, right)
        case ast.Constant(value=None):
            return value, value is None
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            allowed = ast.literal_eval(choices)
            return value, value in (allowed if isinstance(allowed, tuple) else (allowed,))
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            if not isinstance(value, (list, tuple)):
                return value, False
            pairs = [_fit(v, item) for v in value]
            return [v for v, _ in pairs], all(fits for _, fits in pairs)
        case ast.Name(id="float"):
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            return (float(value) if number else value), number
        case ast.Name(id="int"):
            return value, isinstance(value, int) and not isinstance(value, bool)
        case ast.Name(id="str" | "bool" as name):
            return value, type(value).__name__ == name
    return value, True
