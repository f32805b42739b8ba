"""What annotations are checked for on their way from a table, and the items that they are about."""

import hashlib

import numpy as np
import pandas as pd

from mcstl._support.errors import InputError, brief
from mcstl.data.cells import cell_text, identifier, is_missing, is_usable_text, mapped, objects
from mcstl.data.layouts import POSITION
from mcstl.data.row_numbers import Source


def check_ids(table: pd.DataFrame, source: Source) -> None:
    """Check that annotations that have ids have one each.

    Args:
        table: A row per annotation, with `POSITION`.
        source: What errors call it.

    Raises:
        InputError: An id is missing or repeated.
    """
    if "annotation_id" not in table.columns:
        return
    ids = pd.Series(mapped(table["annotation_id"], cell_text), dtype=object)
    if ids.isna().any():
        raise InputError(
            f"{int(ids.isna().sum())} rows of {source} have no annotation_id: "
            f"{source.rows(table.loc[ids.isna(), POSITION])}; "
            "fill them or leave the whole column out"
        )
    repeated = ids[ids.duplicated()]
    if len(repeated):
        raise InputError(
            f"{len(repeated)} rows of {source} repeat an annotation_id, the first one "
            f"{brief(repeated.iloc[0])!r} in {source.rows([table[POSITION][repeated.index[0]]])}; "
            "every annotation needs its own, so drop the copies or rename the column"
        )


def with_texts(
    table: pd.DataFrame, columns: tuple[str, ...], source: Source, dropped: dict[str, int]
) -> pd.DataFrame:
    """Take the rows that have all texts, and count the table's rows that have not.

    Args:
        table: A row per annotation, with `POSITION`.
        columns: The columns of the texts.
        source: What messages call it.
        dropped: Counts of rows left out, by reason; gets one more.

    Returns:
        The rows.

    Raises:
        InputError: No row has all texts.
    """
    names = " or ".join(columns)
    usable = np.ones(len(table), dtype=bool)
    for name in columns:
        usable &= mapped(table[name], is_usable_text).astype(bool)
    if not usable.any():
        raise InputError(
            f"no row of {source} has {names.replace(' or ', ' and ')} (all are empty, missing or "
            f"not text); is that the right column? Map it with columns: {{{columns[0]}: ...}}"
        )
    if not usable.all():
        lacking = table.loc[~usable, POSITION].unique()
        dropped[f"no {names}: {source.rows(lacking)}"] = len(lacking)
        table = table[usable].reset_index(drop=True)
    for name in columns:
        table[name] = objects(table[name].to_numpy(dtype=object))
    return table


def weights_of(table: pd.DataFrame, source: Source) -> pd.Series:
    """Read the weights of annotations.

    Args:
        table: A row per annotation, with `POSITION`.
        source: What errors call it.

    Returns:
        Numbers above 0.

    Raises:
        InputError: A weight is none.
    """
    weights = pd.to_numeric(table["weight"], errors="coerce").astype(float)
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights > 0)))
    if len(bad):
        first = bad[0]
        raise InputError(
            f"{len(bad)} rows of {source} have a weight that is no number above 0, the first "
            f"one {brief(table['weight'][first])!r} in {source.rows([table[POSITION][first]])}; "
            "drop rows that shall not count"
        )
    return weights


def set_items(table: pd.DataFrame, texts: tuple[str, ...], source: Source) -> int:
    """Give every row its item and say whether its pair is flipped, in place.

    One unordered pair is one item, under the first name that it has in the table.

    Args:
        table: A row per annotation, with `POSITION`.
        texts: The columns of its texts.
        source: What errors call it.

    Returns:
        How many names of items are gone since their pair has another.

    Raises:
        InputError: An item is missing, or has several texts.
    """
    cells = table[list(texts)].to_numpy(dtype=object)
    if len(texts) == 1:
        keys = cells[:, 0]
    else:
        keys = np.array(["\0".join(sorted(pair)) for pair in cells], dtype=object)
    codes, distinct = pd.factorize(keys)
    first = np.unique(codes, return_index=True)[1]
    if "item" in table.columns:
        missing = mapped(table["item"], is_missing).astype(bool)
        if missing.any():
            raise InputError(
                f"{int(missing.sum())} rows of {source} have no item: "
                f"{source.rows(table.loc[missing, POSITION])}; fill them, or leave the "
                "column out where every text is its own item"
            )
        # A name that is text stays as it is: two texts that differ in a blank may be two items.
        names = mapped(table["item"], identifier)
        texts_of_item = pd.Series(codes).groupby(names).nunique()
        if (texts_of_item > 1).any():
            bad = texts_of_item.index[texts_of_item > 1]
            raise InputError(
                f"{len(bad)} items of {source} have more than one text, the first one item "
                f"{brief(bad[0])!r}; an item is one text (or pair), so give each its own name, or "
                "leave the column out where every text is its own item"
            )
    else:
        # A text that has no name is named by its content, the same in every table.
        named = [hashlib.blake2b(str(key).encode(), digest_size=8).hexdigest() for key in distinct]
        names = np.array(named, dtype=object)[codes]
    n_names = pd.unique(names).size
    if len(texts) == 2:
        names = names[first][codes]
        table["flipped"] = cells[:, 0] != cells[first, 0][codes]
    else:
        table["flipped"] = False
    table["item"] = objects(names)
    return n_names - pd.unique(names).size
