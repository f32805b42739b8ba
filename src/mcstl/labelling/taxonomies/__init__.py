"""Taxonomies of human values as data: names, definitions, keywords, and what refines what.

The package has Schwartz's ten values, ValueImprint's seven and ValueEval's twenty, which refine
the ten; a taxonomy of a user's own is a YAML file of the same form.

Examples:
    >>> ten = load("schwartz")
    >>> len(ten.names), ten.value("Hedonism").definition
    (10, 'pleasure, comfort and enjoyment for oneself')
    >>> load("valueeval").value("Face").refines
    ('Power', 'Security')
"""

import functools
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml.error import YAMLError

from mcstl._support import files
from mcstl._support.errors import InputError, brief, did_you_mean, listed

_FOLDER = Path(__file__).parent


class Value(BaseModel):
    """One value of a taxonomy.

    Attributes:
        name: Its name, which is the name of its group.
        definition: What it means.
        keywords: Words that stand for it.
        refines: The values of a coarser taxonomy that it is a part of.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    definition: str = Field(min_length=1)
    keywords: tuple[str, ...] = ()
    refines: tuple[str, ...] = ()


class Taxonomy(BaseModel):
    """A set of values.

    Attributes:
        name: Its name, as in a study file.
        title: Its name for readers.
        source: Where the values come from.
        refines: Name of the coarser taxonomy whose values these refine; "" for none.
        values: The values.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    title: str = ""
    source: str = ""
    refines: str = ""
    values: tuple[Value, ...] = Field(min_length=1)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the values, in the order of the file."""
        return tuple(value.name for value in self.values)

    def value(self, name: str) -> Value:
        """Look up a value.

        Args:
            name: Its name.

        Returns:
            The value.

        Raises:
            InputError: There is none; the message suggests the nearest.
        """
        for value in self.values:
            if value.name == name:
                return value
        raise InputError(
            f"{brief(name)!r} is no value of {self.name}; its values: {listed(self.names, 20)}."
            f"{did_you_mean(name, self.names)}"
        )


def built_in() -> tuple[str, ...]:
    """List the taxonomies that come with mcstl.

    Returns:
        Their names, sorted.
    """
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


@functools.lru_cache(maxsize=32)
def load(name: str | Path) -> Taxonomy:
    """Read a taxonomy.

    Args:
        name: Name of one that comes with mcstl, or a YAML file of the user's own.

    Returns:
        The taxonomy.

    Raises:
        InputError: There is none of that name, or the file is not one.
    """
    path = _FOLDER / f"{name}.yaml"
    if str(name) not in built_in():
        path = Path(name)
        if not path.is_file():
            raise InputError(
                f"there is no taxonomy {str(name)!r}; choose from {listed(built_in())}, or name a "
                f"YAML file of your own.{did_you_mean(str(name), built_in())}"
            )
    try:
        taxonomy = Taxonomy.model_validate(files.yaml().load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "the file"
        raise InputError(
            f"{path} is no taxonomy: {where}: {fault['msg']}; expected name and values, each with "
            "name, definition and, if wanted, keywords"
        ) from None
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} is not YAML: {brief(error, 200)}") from error
    repeated = sorted({each for each in taxonomy.names if taxonomy.names.count(each) > 1})
    if repeated:
        raise InputError(f"{path} names a value twice: {listed(repeated)}")
    if marked := [each for each in taxonomy.names if "|" in each or "=" in each]:
        raise InputError(f"{path}: a value's name cannot hold '|' or '=': {listed(marked)}")
    return taxonomy


def refinements(name: str) -> tuple[Taxonomy, ...]:
    """List the taxonomies that come with mcstl and refine another.

    Args:
        name: Name of the coarser taxonomy.

    Returns:
        The taxonomies that refine it.
    """
    return tuple(each for each in map(load, built_in()) if each.refines == name)
