"""Models on the Hugging Face Hub, in huggingface_hub's way: save, load and push."""

import abc
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from mcstl._support.errors import InputError, brief, listed
from mcstl.groups.small_groups import FEW_PEOPLE
from mcstl.models.model_directory import ENCODER_FILES, FILES

_TIMEOUT = 10  # seconds until a hub that does not answer is an error


class OnTheHub(abc.ABC):
    """A model that is saved to, loaded from and pushed to the Hub by huggingface_hub's names.

    `huggingface_hub.ModelHubMixin` itself would write a config.json of its own and pass what it
    finds in one to the constructor unchecked.
    """

    @abc.abstractmethod
    def save(self, folder: str | Path) -> None:
        """Write the model directory.

        Args:
            folder: Where it is to be.
        """

    @property
    @abc.abstractmethod
    def groups_of_few(self) -> Sequence[str]:
        """The names of the groups of fewer than five people."""

    @classmethod
    @abc.abstractmethod
    def load(cls, folder: str | Path, *, encoder: Any = None, min_people: int = FEW_PEOPLE) -> Self:
        """Read a model directory.

        Args:
            folder: The directory.
            encoder: The encoder of the texts; by default it is found by its name.
            min_people: How many people a group must be of for predictions to be made for it.

        Returns:
            The model.
        """

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Write the model directory with its card, as `save` does.

        Args:
            save_directory: Where it is to be.
        """
        self.save(save_directory)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        encoder: Any = None,
        min_people: int = FEW_PEOPLE,
    ) -> Self:
        """Read a model directory, or a model of the Hub by its ``owner/name``.

        Nothing but config.json, model.safetensors, README.md and the encoder's files, where it has
        them, is downloaded.

        Args:
            pretrained_model_name_or_path: A directory, or the name of a repository.
            revision: A branch, tag or commit of the repository.
            cache_dir: Where downloads are kept, by default the Hub's cache.
            token: The Hub's token, by default the one that `hf auth login` kept.
            local_files_only: Whether to use only what was downloaded before.
            encoder: The encoder of the texts; by default it is found by its name.
            min_people: As for `load`.

        Returns:
            The model.

        Raises:
            InputError: As `load`, and for a name that cannot be had.
        """
        name = str(pretrained_model_name_or_path)
        if Path(name).is_dir():
            return cls.load(name, encoder=encoder, min_people=min_people)
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name) or ".." in name:
            raise InputError(f"{brief(name, 80)!r} is no folder and no name as owner/model")
        from huggingface_hub import snapshot_download

        try:
            folder = snapshot_download(
                name,
                revision=revision,
                cache_dir=cache_dir,
                token=token,
                local_files_only=local_files_only,
                allow_patterns=[*FILES, *ENCODER_FILES],
                etag_timeout=_TIMEOUT,
            )
        except Exception as error:  # the hub's own, the network's, the disk's
            raise InputError(
                f"model {name!r} is no folder here and cannot be had from the hub: "
                f"{brief(error, 200)}"
            ) from error
        return cls.load(folder, encoder=encoder, min_people=min_people)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        commit_message: str = "Push an mcstl model",
        revision: str | None = None,
        create_pr: bool = False,
        groups_of_few: bool = False,
        token: str | bool | None = None,
    ) -> str:
        """Upload the model directory with its card.

        Args:
            repo_id: The repository, which is made if it is not there.
            private: Whether a new repository is private, by default as the account has it.
            commit_message: The message of the commit.
            revision: The branch to commit to, by default the main one.
            create_pr: Whether to open a pull request instead.
            groups_of_few: Whether a group of fewer than five people, whose name and predictions may
                tell who they are, may leave.
            token: The Hub's token, by default the one that `hf auth login` kept.

        Returns:
            The address of the commit, or of the pull request.

        Raises:
            InputError: For such a group, and if the Hub refuses or cannot be reached.
        """
        if self.groups_of_few and not groups_of_few:
            raise InputError(
                f"the model has groups of fewer than five people, which may tell who they are: "
                f"{listed(self.groups_of_few)}. Train it with groups: {{min_annotators: 5}}, or "
                "push it with groups_of_few=True"
            )
        from huggingface_hub import HfApi

        api = HfApi(token=token)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "model"
            self.save(folder)
            try:
                repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
                commit = api.upload_folder(
                    repo_id=repo_id,
                    folder_path=folder,
                    commit_message=commit_message,
                    revision=revision,
                    create_pr=create_pr,
                )
            except Exception as error:  # the hub's own, the network's
                raise InputError(
                    f"the model cannot be pushed to {brief(repo_id)!r}: {brief(error, 200)}"
                ) from error
        return commit.pr_url or str(commit.commit_url)
