"""Where bundles come from and go to: the package, a folder, or the Hugging Face hub.

In: a source. Out: a folder on this machine.

    "builtin"                the bundle inside the package
    a folder                 as it is
    owner/name[@revision]    the hub, through its local cache, which needs no network

A folder that exists is taken before a hub id of the same spelling. From the hub only the kinds of file that a
bundle consists of are fetched, none of which can carry code.
"""

import difflib
import os
import re
from pathlib import Path

from hafm.errors import BundleError, BundleNotFound, UsageError

__all__ = ["BUILTIN", "bundle_folder", "push_folder"]

BUILTIN = "builtin"
"""The name of the bundle inside the package."""

CONFIG_FILE = "config.json"

_ASSETS = Path(__file__).parent.parent / "assets"
_HUB_ID = re.compile(r"(?P<repo>[\w][\w.-]*/[\w][\w.-]*)(?:@(?P<revision>[\w./-]+))?", re.ASCII)
_PATTERNS = ("*.json", "*.safetensors", "*.onnx", "README.md")
_WAYS = "give 'builtin', a bundle's folder, or a hub id such as owner/name or owner/name@revision"


def bundle_folder(source: str | os.PathLike[str], *, revision: str | None = None) -> Path:
    """The folder of a bundle, fetched from the hub if that is where it is.

    Args:
        source: see the top of this file.
        revision: branch, tag or commit; for hub ids alone.

    Raises:
        BundleNotFound: there is no such bundle, or the hub cannot be reached and the cache does not have it.
        UsageError: a revision of something that has none, or two revisions.

    >>> bundle_folder("bultin")
    Traceback (most recent call last):
    ...
    hafm.errors.BundleNotFound: there is no bundle 'bultin'; did you mean 'builtin'? give 'builtin', a ...
    """
    name = os.fspath(source)
    folder = _ASSETS / BUILTIN if name == BUILTIN else Path(name)
    if name == BUILTIN or folder.exists():
        if revision is not None:
            raise UsageError(f"{name!r} has no revisions; leave out revision={revision!r}, or give a hub id")
        if not (folder / CONFIG_FILE).is_file():
            raise _no_bundle_in(folder, name)
        return folder
    match = None if isinstance(source, Path) else _HUB_ID.fullmatch(name)
    if match is None:
        raise BundleNotFound(f"there is no bundle {name!r}; {_guess(name)}{_WAYS}")
    if revision is not None and match["revision"] is not None:
        raise UsageError(
            f"two revisions of {match['repo']} were asked for: {match['revision']} and {revision}"
        )
    return _fetch(match["repo"], match["revision"] if revision is None else revision)


def push_folder(folder: Path, repo_id: str, *, private: bool, revision: str | None) -> str:
    """Uploads a bundle's folder, making the repository if it is not there.

    Returns:
        The address of the commit.

    Raises:
        BundleError: the hub refused, or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = HfApi()
    try:
        repo = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        commit = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            allow_patterns=list(_PATTERNS),
            revision=revision,
            commit_message="Upload bundle",
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise BundleError(
            f"cannot upload to {repo_id!r}: {_first_line(error)}; log in with `hf auth login`"
        ) from error
    return str(commit.commit_url)


def _fetch(repo_id: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RevisionNotFoundError,
    )

    wanted = repo_id if revision is None else f"{repo_id}@{revision}"
    try:
        folder = Path(snapshot_download(repo_id, revision=revision, allow_patterns=list(_PATTERNS)))
    except RevisionNotFoundError as error:
        raise BundleNotFound(
            f"{repo_id} has no revision {revision!r} on the hub; look at its branches and tags"
        ) from error
    except LocalEntryNotFoundError as error:
        raise BundleNotFound(
            f"{wanted} is not in the local cache and the hub cannot be reached; connect once to fetch it, "
            "or use 'builtin', which needs no network"
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise BundleNotFound(
            f"cannot fetch {wanted} from the hub: {_first_line(error)}; check the name (a private one needs "
            f"`hf auth login`), or {_WAYS}"
        ) from error
    if not (folder / CONFIG_FILE).is_file():
        raise _no_bundle_in(folder, wanted)
    return folder


def _no_bundle_in(folder: Path, name: str) -> BundleNotFound:
    if name == BUILTIN:
        return BundleNotFound(
            "this installation has no built-in bundle; install a released hafm, make one with "
            "recipes/builtin, or give a bundle's folder"
        )
    inside = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG_FILE}")) if folder.is_dir() else []
    hint = f"did you mean {str(Path(name) / inside[0])!r}? " if inside else ""
    return BundleNotFound(f"there is no bundle in {name!r} (it has no {CONFIG_FILE}); {hint}{_WAYS}")


def _guess(name: str) -> str:
    """A hint at the bundle that was meant: its spelling may be off by a letter or two."""
    near = difflib.get_close_matches(name, [BUILTIN], n=1)
    path = Path(name)
    try:
        beside = [str(path.parent / each.parent.name) for each in path.parent.glob(f"*/{CONFIG_FILE}")]
    except OSError:
        beside = []
    near += difflib.get_close_matches(str(path), beside, n=2)
    return f"did you mean {' or '.join(map(repr, near))}? " if near else ""


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
