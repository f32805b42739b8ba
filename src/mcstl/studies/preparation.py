"""From annotations to what methods are fitted to: split, group, encode."""

from collections.abc import Sequence

from scipy.sparse import csr_matrix

from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations, minority_weights
from mcstl.data.splits import MissingClassError, Split, official_split, split
from mcstl.encoding import finetuning
from mcstl.encoding.encoders import Encoder
from mcstl.encoding.parts import Reading
from mcstl.encoding.side_by_side import members_for
from mcstl.groups import GroupsConfig, Scheme, fit_scheme, settled
from mcstl.methods.base import Prepared
from mcstl.models.examples import Examples
from mcstl.studies.study_file import Study
from mcstl.studies.text_parts import encoder_of_texts


def prepare(
    study: Study,
    annotations: Annotations,
    encoder: Encoder,
    seed: int,
    first: Scheme | None = None,
    progress: Progress = silent,
    parts: Split | None = None,
) -> Prepared:
    """Split, group and encode for one seed.

    Groups and encoder are fitted on training rows only. Groups are formed with `encoder` as it
    comes; texts are encoded with what the study makes of it. How the parts of texts are read, and
    which of several encoders stand side by side, is chosen on training and validation rows.

    Args:
        study: The study.
        annotations: Its annotations.
        encoder: Its encoder, as it comes.
        seed: The seed.
        first: The scheme of the first seed: clusters found anew are named after those of it that
            they are nearest to, and where their number is chosen, it is the number for all.
        progress: Called with what is being done, how many steps are finished and how many there
            are.
        parts: The split, by default as the study says.

    Returns:
        The seed's data, ready for methods.

    Raises:
        InputError: If the annotations cannot be split or grouped so.
    """
    parts = parts or split_rows(study, annotations, seed)
    train = annotations.take(parts.train)
    config = study.groups_for(annotations)
    if first is not None:
        config = settled(config, first)
    scheme, S = grouped(config, train, annotations, encoder, progress)
    if first is not None:
        scheme = scheme.named_like(first)
    if isinstance(study.encoder, tuple):
        encoders = members_for(study.encoder, encoder, train.distinct_texts()[0])
    else:
        encoders = [finetuning.encoder_for(study.encoder, encoder, train, seed, progress)]
    return encoded(annotations, parts, (scheme, S), encoders, study.parts, seed, progress)


def grouped(
    config: GroupsConfig,
    train: Annotations,
    annotations: Annotations,
    encoder: Encoder,
    progress: Progress = silent,
) -> tuple[Scheme, csr_matrix]:
    """Form groups on training rows, and say which annotations are in which.

    Args:
        config: How groups are formed.
        train: The rows that they are formed on.
        annotations: n annotations.
        encoder: The encoder of rationales.
        progress: Called with what is being done, how many steps are finished and how many there
            are.

    Returns:
        The scheme of K groups, and the (n, K) membership.

    Raises:
        InputError: If no group is left.
    """
    scheme = fit_scheme(config, train, encoder, progress)
    return scheme, scheme.assign(annotations, encoder, progress)


def encoded(
    annotations: Annotations,
    parts: Split,
    groups: tuple[Scheme, csr_matrix],
    encoders: Sequence[Encoder],
    reading: Reading | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Prepared:
    """Encode annotations that are split and grouped.

    Args:
        annotations: The annotations.
        parts: The positions of training, validation and test rows.
        groups: What `grouped` returns.
        encoders: The encoders of whole texts and of parts; of several, those that are better
            together are chosen on training and validation rows.
        reading: How texts in parts are read; None chooses, too.
        seed: Decides which rows these choices look at where there are many.
        progress: Called with what is being done, how many steps are finished and how many there
            are.

    Returns:
        The data, ready for methods.

    Raises:
        InputError: If parts shall be read apart, and texts have none.
    """
    scheme, S = groups
    of_texts = encoder_of_texts(
        encoders, annotations, S, parts, reading, seed=seed, progress=progress
    )
    examples = make_examples(annotations, S, of_texts, progress)
    return Prepared(annotations, minority_weights(annotations), parts, scheme, examples, of_texts)


def split_rows(study: Study, annotations: Annotations, seed: int) -> Split:
    """Split annotations as a study says.

    Args:
        study: The study.
        annotations: Its annotations.
        seed: The seed.

    Returns:
        The positions of training, validation and test rows.

    Raises:
        InputError: If they cannot be split so.
    """
    by, test, validation = study.split.by, study.split.test, study.split.validation
    if study.split.column is not None:
        return official_split(annotations, by, validation=validation, seed=seed)
    return split(annotations, by, test=test, validation=validation, seed=seed)


def with_usable_seeds(study: Study, annotations: Annotations) -> tuple[Study, dict[str, str]]:
    """Leave out the seeds whose training rows lack a class, as those of a rare class may.

    Args:
        study: The study.
        annotations: Its annotations, of one label each.

    Returns:
        The study with the seeds that can be used, and by seed why others cannot.

    Raises:
        MissingClassError: No seed can be used.
        InputError: The annotations cannot be split as the study says.
    """
    left_out = dict[str, str]()
    for seed in study.seeds:
        try:
            split_rows(study, annotations, seed)
        except MissingClassError as error:
            if len(left_out) == len(study.seeds) - 1:
                raise
            left_out[str(seed)] = str(error)
    seeds = tuple(seed for seed in study.seeds if str(seed) not in left_out)
    return study.model_copy(update={"seeds": seeds}), left_out


def training_rows(study: Study, annotations: Annotations) -> Annotations:
    """Take the rows that groups are formed on.

    Args:
        study: The study.
        annotations: Its annotations.

    Returns:
        The training rows of the first seed.

    Raises:
        InputError: If the annotations cannot be split as the study says.
    """
    return annotations.take(split_rows(study, annotations, study.seeds[0]).train)


def make_examples(
    annotations: Annotations, S: csr_matrix, encoder: Encoder, progress: Progress = silent
) -> Examples:
    """Encode the texts of annotations, and put them together with groups, labels and weights.

    Args:
        annotations: n annotations.
        S: (n, K) their membership.
        encoder: The encoder of the texts.
        progress: Called with what is being done, how many steps are finished and how many there
            are.

    Returns:
        n examples.
    """
    texts, positions = annotations.distinct_texts()
    vectors = encoder.encode(texts, progress)
    return Examples(vectors, positions, S, annotations.labels, annotations.weights)
