"""Datasets of the Hugging Face hub, by the package `datasets`, with errors of one line.

The commit is asked for first, with one short request: a hub that cannot be reached is an error at once, and what is
loaded is one commit and no other. Where HF_HUB_OFFLINE is set, what the cache holds is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

from pica.synth.errors import UsageError

_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*(:[\w.-]+)?", re.ASCII)
_SECONDS = 20  # for the one request that asks whether the dataset is there


def is_hub_id(name: str) -> bool:
    """Whether `name` is written like `ORG/NAME` or `ORG/NAME:CONFIG`."""
    return bool(_ID.fullmatch(name))


def is_inside(path: Path) -> bool:
    """Whether `path` begins with a folder that is here, as a mistyped one does: nobody else should be told of it."""
    return len(path.parts) > 1 and not path.is_absolute() and path.parts[0] != ".." and Path(path.parts[0]).is_dir()


class HubRows:
    """A split of a dataset of the hub, downloaded into the cache of `datasets` and mapped from there.

    `revision`: the commit. Raises `UsageError` for what is not there, may not be read or cannot be reached.
    """

    def __init__(self, name: str, split: str, revision: str) -> None:
        try:
            import datasets
        except ImportError:
            raise UsageError(f"{name} is no file or folder here, and datasets of the hub need the package datasets: pip "
                             'install "pica[train]"') from None
        target, _, config = name.partition(":")
        datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # it would tell a third server what is loaded
        offline = datasets.config.HF_HUB_OFFLINE
        self.revision = revision if offline else _commit(name, target, revision)
        try:
            found = datasets.load_dataset(target, config or None, revision=self.revision or None)
        except Exception as error:  # of any kind: the network, the files, their builders
            raise UsageError(_not_loaded(name, error, offline=offline)) from None
        if split not in found:
            raise UsageError(f"{name} has no split {split!r}; it has {', '.join(found)}")
        self._rows = found[split]

    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self._rows.column_names)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows, in order."""
        yield from self._rows

    def count(self) -> int:
        """How many rows."""
        return len(self._rows)

    def digest(self) -> str:
        """A hash of the split's rows as the cache holds them."""
        digest = blake2b(digest_size=16)
        for item in self._rows.cache_files:
            with Path(item["filename"]).open("rb") as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
        return digest.hexdigest()


def _commit(name: str, target: str, revision: str) -> str:
    """The commit of a dataset of the hub."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        return str(HfApi().dataset_info(target, revision=revision or None, timeout=_SECONDS).sha)
    except GatedRepoError:
        why = f"is gated: accept its terms at the hub's page {target} and set HF_TOKEN"
    except RepositoryNotFoundError:
        why = "is no file or folder here, and the hub shows no such dataset; check the name, or set HF_TOKEN if it is private"
    except RevisionNotFoundError:
        why = f"has no revision {revision}; give a branch, a tag or a commit"
    except HfHubHTTPError as error:
        why = f"cannot be asked for: the hub answers {error.response.status_code}; try again later"
    except Exception as error:  # whatever the connection raises
        why = (f"is no file or folder here, and the hub cannot be reached ({_one_line(error)}); check the path or the "
               "connection, or set HF_HUB_OFFLINE=1 to use what the cache holds")
    raise UsageError(f"{name} {why}")


def _not_loaded(name: str, error: Exception, *, offline: bool) -> str:
    if offline:
        return f"{name} is no file or folder here, and the cache does not hold it ({_one_line(error)}); unset HF_HUB_OFFLINE"
    if "Config" in str(error):
        return f"{name}: {_one_line(error)}; write ORG/NAME:CONFIG"
    if "scripts are no longer supported" in str(error):
        return f"{name} is a script, and scripts are never run; give revision=refs/convert/parquet"
    return f"{name} cannot be loaded ({_one_line(error)}); download it and give its files"


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".removesuffix(": ")
