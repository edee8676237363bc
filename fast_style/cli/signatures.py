"""Constructor parameters of configured classes, read from source: importing PyTorch takes seconds."""

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path


def written_parameters(target: str, depth: int = 8) -> list[str] | None:
    """Return the constructor parameters of a dotted name; None: no source within `depth` re-exports, or any keyword."""
    module, _, name = target.rpartition(".")
    file = _file(module)
    if file is None or depth == 0:
        return None
    for statement in ast.parse(file.read_bytes()).body:
        if isinstance(statement, ast.ClassDef) and statement.name == name:
            # pytorch_optimizer's constructors accept and ignore unknown keywords: check the named ones.
            any_name = target.startswith("pytorch_optimizer.")
            for part in statement.body:
                if isinstance(part, ast.FunctionDef) and part.name == "__init__" and (any_name or not part.args.kwarg):
                    return [each.arg for each in (*part.args.args[1:], *part.args.kwonlyargs)]
            return None
    for source in _sources(file, module, name):
        if (found := written_parameters(source, depth - 1)) is not None:
            return found
    return None


def _file(module: str) -> Path | None:
    package, *path = module.split(".")
    # Only the top-level package is looked up, which imports nothing.
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or spec.origin is None:
        return None
    place = Path(spec.origin).parent.joinpath(*path)
    return next((file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()), None)


def _sources(file: Path, module: str, name: str) -> Iterator[str]:
    """Yield the dotted names from which a module may import a class."""
    base = module.split(".")
    if file.name != "__init__.py":
        base.pop()
    for statement in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(statement, ast.ImportFrom):
            parents = base[: len(base) + 1 - statement.level] if statement.level else []
            source = [*parents, *filter(None, [statement.module])]
            for alias in statement.names:
                if alias.name == "*" or name == (alias.asname or alias.name):
                    yield ".".join([*source, name if alias.name == "*" else alias.name])
