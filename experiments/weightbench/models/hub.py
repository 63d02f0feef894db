"""Models on the Hugging Face hub: a repository and a revision, through the official client and its cache."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import ModelNotFoundError, NoHubError

__all__ = ["HubSource", "hub_folder"]

WEIGHTS = ["*.safetensors", "*.safetensors.index.json"]
OLD_WEIGHTS = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]
BESIDES = ["*.json", "tokenizer*", "vocab*", "merges.txt", "*.model", "*.tiktoken", "*.jinja"]
SUBFOLDERS = ["*/*"]


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository on the hub.

    Attributes:
        repository: its id, ``"owner/name"``.
        revision: a branch, tag or commit.
        name, note, base, family: see `Origin`; `name` defaults to the repository.
    """

    repository: str
    revision: str = "main"
    name: str = ""
    note: str = ""
    base: str | None = None
    family: str = ""


def hub_folder(source: HubSource) -> tuple[Path, str]:
    """Return the local folder of a snapshot and its commit; only weights, configuration and tokenizer.

    Weights are safetensors; a repository without them gives its PyTorch `.bin` files. The endpoint, token,
    cache and offline mode are the client's own (HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_OFFLINE).

    Raises:
        NoHubError: the hub cannot be reached and the snapshot is not in the local cache.
        ModelNotFoundError: no such repository or revision, no access to it, or no weights in it.
    """
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", source.repository):
        raise ModelNotFoundError(f"{source.repository!r} is not a hub repository; its form is owner/name")
    for weights in (WEIGHTS, OLD_WEIGHTS):
        folder = _snapshot(source, weights)
        if any(folder.glob(weights[0])):
            return folder, folder.name
    raise ModelNotFoundError(
        f"{source.repository} at {source.revision} holds neither {WEIGHTS[0]} nor {OLD_WEIGHTS[0]} files; "
        "a GGUF file can be fetched and given as a path"
    )


def _snapshot(source: HubSource, weights: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    # The base error of whichever HTTP library the client uses.
    transport_error: type[Exception] = HfHubHTTPError.__bases__[0]
    try:
        return Path(
            snapshot_download(
                source.repository,
                revision=source.revision,
                allow_patterns=[*weights, *BESIDES],
                ignore_patterns=SUBFOLDERS,
            )
        )
    except RevisionNotFoundError as error:
        raise ModelNotFoundError(
            f"{source.repository} has no revision {source.revision!r}; give a branch, tag or full commit"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelNotFoundError(
            f"the hub has no repository {source.repository!r} that you may read; check the spelling, or "
            "log in if it is private or gated: hf auth login"
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, transport_error) as error:
        cause = error.__cause__ or error
        raise NoHubError(source.repository, f"{type(cause).__name__}: {cause}".splitlines()[0]) from error
