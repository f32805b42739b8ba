"""The rules of the house that are counted: parameters, lines of code, complete docstrings.

Nothing but the standard library is imported, so that it lists what is left to do anywhere:

    python tests/house_rules.py src/mcstl/models src/mcstl/equations.py
"""

import ast
import inspect
import io
import re
import sys
import tokenize
from collections.abc import Collection, Iterator
from pathlib import Path

MOST_PARAMETERS = 8
MOST_LINES = 400

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef
#: A definition, its dotted name within the file, and the class that it stands in directly.
Defined = tuple[Definition, str, ast.ClassDef | None]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}
#: Decorators of functions that nobody calls by name, or that are read as attributes.
_NO_FUNCTION_OF_ITS_OWN = {
    "cached_property",
    "command",
    "callback",
    "deleter",
    "field_serializer",
    "field_validator",
    "model_serializer",
    "model_validator",
    "overload",
    "override",
    "property",
    "setter",
}
#: What pydantic calls by itself.
_PYDANTIC = {"model_post_init"}


def code_lines(text: str) -> int:
    """Count the lines of a file that hold code: no docstring, no comment, no blank line."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _LAYOUT:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and _is_text(node.value):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def too_long(path: Path) -> list[str]:
    """List the file if it has too many lines of code."""
    n = code_lines(path.read_text(encoding="utf-8"))
    return [f"{path}:1 {n} lines of code"] if n > MOST_LINES else []


def too_many_parameters(path: Path) -> list[str]:
    """List the functions of a file with too many parameters.

    Commands of the command line and constructors in scikit-learn's way may have as many as they
    have options.
    """
    return [
        f"{path}:{node.lineno} {name} has {len(parameters(node))} parameters"
        for node, name, parent in definitions(path, nested=True)
        if isinstance(node, _FUNCTIONS)
        and len(parameters(node)) > MOST_PARAMETERS
        and not decorators(node) & {"command", "callback"}
        and not (node.name == "__init__" and parent is not None and _is_estimator(parent))
    ]


def poorly_documented(path: Path) -> list[str]:
    """List the public functions, methods and classes of a file whose docstrings lack something.

    `Args:` names every parameter of a function and `Returns:` (or `Yields:`) says what comes back,
    unless nothing does. `Attributes:` (or `Args:`) names every public field that a class declares,
    `Args:` every parameter of a constructor that is written out. A method that does what a base
    class says may say so instead, by a docstring that begins with "See `Base.method`".
    """
    return [
        f"{path}:{node.lineno} {name}: {problem}"
        for node, name, parent in definitions(path)
        if not any(part.startswith("_") for part in name.split("."))
        for problem in _problems(node, parent)
    ]


def definitions(path: Path, *, nested: bool = False) -> Iterator[Defined]:
    """Yield the functions and classes of a file; with `nested`, those inside functions, too."""
    yield from _defined(ast.parse(path.read_text(encoding="utf-8")), "", None, nested)


def parameters(node: Function) -> list[str]:
    """Name the parameters of a function; `self` and `cls` are not counted."""
    a = node.args
    named = [arg.arg for arg in (*a.posonlyargs, *a.args, a.vararg, *a.kwonlyargs, a.kwarg) if arg]
    return [name for name in named if name not in {"self", "cls"}]


def decorators(node: Definition) -> set[str]:
    """Name the decorators of a function or class by their last part, without their arguments."""
    called = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
    return {ast.unparse(decorator).rpartition(".")[2] for decorator in called}


def section(docstring: str, title: str) -> set[str] | None:
    """Name the entries of a section of a Google-style docstring; None without the section."""
    lines = docstring.splitlines()
    if f"{title}:" not in lines:
        return None
    body = []
    for line in lines[lines.index(f"{title}:") + 1 :]:
        if line and not line.startswith(" "):
            break
        body.append(line)
    entries = (re.match(r" {4}\*{0,2}(\w+)(?: \([^)]*\))?:", line) for line in body)
    return {entry[1] for entry in entries if entry}


def _defined(
    node: ast.AST, prefix: str, parent: ast.ClassDef | None, nested: bool
) -> Iterator[Defined]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield child, prefix + child.name, parent
            yield from _defined(child, f"{prefix}{child.name}.", child, nested)
        elif isinstance(child, _FUNCTIONS):
            yield child, prefix + child.name, parent
            if nested:
                yield from _defined(child, f"{prefix}{child.name}.", None, nested)
        elif isinstance(child, ast.stmt | ast.ExceptHandler):
            yield from _defined(child, prefix, parent, nested)


def _problems(node: Definition, parent: ast.ClassDef | None) -> list[str]:
    if isinstance(node, _FUNCTIONS) and (
        decorators(node) & _NO_FUNCTION_OF_ITS_OWN or (parent and node.name in _PYDANTIC)
    ):
        return []
    docstring = ast.get_docstring(node)
    if docstring is None:
        return ["no docstring"]
    if parent is not None and parent.bases and docstring.startswith("See `"):
        return []
    if isinstance(node, ast.ClassDef):
        return _problems_of_class(node, docstring)
    problems = _differences(docstring, "Args", parameters(node))
    returned = ast.unparse(node.returns) if node.returns else "None"
    nothing = returned.strip("'\"") in {"None", "NoReturn", "Never"}
    if not nothing and "Returns:" not in docstring and "Yields:" not in docstring:
        problems.append("no Returns:")
    return problems


def _problems_of_class(node: ast.ClassDef, docstring: str) -> list[str]:
    fields = [
        statement.target.id
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and not statement.target.id.startswith("_")
        and not ast.unparse(statement.annotation).startswith("ClassVar")
    ]
    described = (section(docstring, "Attributes") or set()) | (section(docstring, "Args") or set())
    missing = [field for field in fields if field not in described]
    problems = [f"Attributes: lacks {', '.join(missing)}"] if missing else []
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            passed_on = method.args.kwarg.arg if fields and method.args.kwarg else None
            names = [name for name in parameters(method) if name not in {*fields, passed_on}]
            text = f"{docstring}\n{inspect.cleandoc(ast.get_docstring(method) or '')}"
            problems += _differences(text, "Args", names, {*fields, passed_on or ""})
    return problems


def _differences(
    docstring: str, title: str, names: list[str], others: Collection[str] = ()
) -> list[str]:
    """Say which `names` a section lacks, and which it has that are neither they nor `others`."""
    described = section(docstring, title) or set()
    missing = [name for name in names if name not in described]
    unknown = sorted(described - {*names, *others})
    return [f"{title}: lacks {', '.join(missing)}"] * bool(missing) + [
        f"{title}: names {', '.join(unknown)}, which is no parameter"
    ] * bool(unknown)


def _is_estimator(node: ast.ClassDef) -> bool:
    return any(re.search(r"Estimator$|Mixin$", ast.unparse(base)) for base in node.bases)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


if __name__ == "__main__":
    given = [Path(each) for each in sys.argv[1:]] or [Path(__file__).parents[1] / "src" / "mcstl"]
    files = [
        file for path in given for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])
    ]
    offenders = [
        line
        for file in files
        for rule in (too_long, too_many_parameters, poorly_documented)
        for line in rule(file)
    ]
    sys.stdout.write("".join(f"{line}\n" for line in [*offenders, f"{len(offenders)} left to do"]))
    sys.exit(bool(offenders))
