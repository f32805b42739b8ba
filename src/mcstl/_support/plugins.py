"""What other packages add by entry points: data sets, group schemes and methods.

A package names them in its pyproject.toml and touches nothing here (docs/extending.md):

    [project.entry-points."mcstl.datasets"]
    mine = "my_package:SOURCE"          # an `mcstl.datasets.Source`, or a list of them
    [project.entry-points."mcstl.groups"]
    length = "my_package:LengthConfig"  # an `mcstl.groups.PluginConfig`
    [project.entry-points."mcstl.methods"]
    nearest = "my_package:fit"          # a function as `mcstl.methods.features.FitFunction`
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from mcstl._support.errors import InputError, brief

Extension = Literal["datasets", "groups", "methods"]


def names(extension: Extension) -> list[str]:
    """List the names that installed packages add, without loading the packages.

    Args:
        extension: What they add.

    Returns:
        The names, sorted.
    """
    return sorted({point.name for point in entry_points(group=f"mcstl.{extension}")})


def load(extension: Extension, name: str) -> Any:
    """Load what an installed package adds.

    Args:
        extension: What it adds.
        name: One of `names`.

    Returns:
        The object that the entry point names.

    Raises:
        InputError: Two packages add the same name, or it cannot be loaded.
    """
    points: list[EntryPoint] = list(entry_points(group=f"mcstl.{extension}", name=name))
    if len({point.value for point in points}) > 1:
        raise InputError(
            f"{' and '.join(point.value for point in points)} both add {name!r} to "
            f"mcstl.{extension}; uninstall one of the packages"
        )
    try:
        return points[0].load()
    except Exception as error:  # whatever the other package raises
        raise InputError(
            f"{points[0].value}, which adds {name!r} to mcstl.{extension}, cannot be loaded: "
            f"{brief(error, 120) or type(error).__name__}"
        ) from error
