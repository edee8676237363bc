"""What the classes that configurations name can be given, read from their sources: importing PyTorch takes seconds."""

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path


def written_parameters(target: str, depth: int = 8) -> list[str] | None:
    """Return the parameters of a class, by its dotted name; None: its source does not tell, or it takes any name.

    Args:
        target: such as `torch.optim.Adam`.
        depth: how many files may pass the name on.
    """
    module, _, name = target.rpartition(".")
    file = _file(module)
    if file is None or depth == 0:
        return None
    for statement in ast.parse(file.read_bytes()).body:
        if isinstance(statement, ast.ClassDef) and statement.name == name:
            # The optimizers of this package take any name, and ignore those that they do not know.
            return _given_to(statement, target.startswith("pytorch_optimizer."))
    for source in _sources(file, module, name):
        if (found := written_parameters(source, depth - 1)) is not None:
            return found
    return None


def _file(module: str) -> Path | None:
    package, *path = module.split(".")
    spec = (
        importlib.util.find_spec(package) if package else None
    )  # of a package that is in no other: nothing is imported
    if spec is None or spec.origin is None:
        return None
    place = Path(spec.origin).parent.joinpath(*path)
    return next((file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()), None)


def _given_to(made: ast.ClassDef, any_name: bool) -> list[str] | None:
    for part in made.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__" and (any_name or not part.args.kwarg):
            return [each.arg for each in (*part.args.args[1:], *part.args.kwonlyargs)]
    return None


def _sources(file: Path, module: str, name: str) -> Iterator[str]:
    """Yield the dotted names under which a module may have found a class that it passes on."""
    base = module.split(".")
    if file.name != "__init__.py":
        base.pop()
    for statement in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(statement, ast.ImportFrom):
            within = base[: len(base) + 1 - statement.level] if statement.level else []
            source = [*within, *filter(None, [statement.module])]
            for alias in statement.names:
                if alias.name == "*" or name == (alias.asname or alias.name):
                    yield ".".join([*source, name if alias.name == "*" else alias.name])
