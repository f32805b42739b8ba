"""The groups of a study as people review them: formed on the training rows of its first seed."""

from pathlib import Path
from typing import NamedTuple

from scipy.sparse import csr_matrix

from mcstl._support.errors import InputError
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.encoding.encoders import Encoder, load_encoder
from mcstl.groups import Scheme
from mcstl.groups.review.summaries import Summary, summarise
from mcstl.studies.preparation import grouped, training_rows
from mcstl.studies.study_file import Study, rationale_config


class StudyGroups(NamedTuple):
    """The groups of a study, and what they were formed on.

    Attributes:
        scheme: The K fitted groups.
        S: (n, K) membership of the training rows.
        data: The n training rows of the first seed.
        encoder: The study's encoder.
    """

    scheme: Scheme
    S: csr_matrix
    data: Annotations
    encoder: Encoder

    def summaries(self, progress: Progress = silent) -> list[Summary]:
        """Summarise the groups without a language model.

        Args:
            progress: Called with the step, how far it is and how far it goes.

        Returns:
            The summaries of the groups of five people or more.
        """
        return summarise(self.scheme.groups, self.S, self.data, self.encoder, progress=progress)


def form_clusters(study: Study, data_dir: Path | None, progress: Progress = silent) -> StudyGroups:
    """Form the clusters of rationales in a study, under their automatic names.

    Args:
        study: The study.
        data_dir: Folder of the registered data sets.
        progress: Called with the step, how far it is and how far it goes.

    Returns:
        The clusters, and what they were formed on.

    Raises:
        InputError: The data cannot be loaded, or the study has no clusters of rationales.
    """
    data, encoder = training_data(study, data_dir)
    config = rationale_config(study.groups_for(data))
    if config is None:
        raise InputError(
            f"the groups of {study.name} have the names of the data; only clusters of rationales, "
            "groups: {by: rationale}, can be named"
        )
    scheme, S = grouped(config.model_copy(update={"names": None}), data, data, encoder, progress)
    return StudyGroups(scheme, S, data, encoder)


def training_data(study: Study, data_dir: Path | None) -> tuple[Annotations, Encoder]:
    """Load what the groups of a study are formed on.

    Args:
        study: The study.
        data_dir: Folder of the registered data sets.

    Returns:
        The training rows of the first seed, and the encoder.

    Raises:
        InputError: The data or the encoder cannot be loaded.
    """
    return training_rows(study, study.load(data_dir)), load_encoder(study.encoder_name)


def form_groups(study: Study, data_dir: Path | None, progress: Progress = silent) -> StudyGroups:
    """Form the groups of a study on the training rows of its first seed.

    Args:
        study: The study.
        data_dir: Folder of the registered data sets.
        progress: Called with the step, how far it is and how far it goes.

    Returns:
        The groups, and what they were formed on.

    Raises:
        InputError: The data cannot be loaded, or no group is left.
    """
    data, encoder = training_data(study, data_dir)
    scheme, S = grouped(study.groups_for(data), data, data, encoder, progress)
    return StudyGroups(scheme, S, data, encoder)
