"""Sources of bundles: built-in, folder, hub; and what is said without one. The hub is played."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from hafm.errors import BundleError, BundleNotFound, UsageError
from hafm.stages import hub
from hafm.stages.bundle import Bundle
from hafm.stages.hub import bundle_folder, push_folder
from tests.tiny import make_tiny_bundle


def play_hub(monkeypatch: pytest.MonkeyPatch, answer: Callable[..., str]) -> list[dict[str, Any]]:
    """Puts `answer` in the place of the hub, and returns the list of what it is asked."""
    asked: list[dict[str, Any]] = []

    def snapshot_download(repo_id: str, **options: Any) -> str:
        asked.append({"repo_id": repo_id, **options})
        return answer()

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def refusal(error: type[HfHubHTTPError]) -> Callable[[], str]:
    def answer() -> str:
        raise error("Nothing of that name.\nmore lines", response=SimpleNamespace(headers={}, request=None))  # type: ignore[arg-type]

    return answer


def test_a_folder_is_itself(tiny_bundle: Path) -> None:
    assert bundle_folder(tiny_bundle) == tiny_bundle
    assert bundle_folder(str(tiny_bundle)) == tiny_bundle
    assert Bundle.open(tiny_bundle).config.name == "tiny"


def test_builtin_is_in_the_package(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Path(hub.__file__).parent.parent / "assets" == hub._ASSETS
    monkeypatch.setattr(hub, "_ASSETS", tmp_path)
    with pytest.raises(BundleNotFound, match="no built-in bundle"):
        bundle_folder("builtin")
    make_tiny_bundle(tmp_path / "builtin")
    assert bundle_folder("builtin") == tmp_path / "builtin"


@pytest.mark.parametrize(
    ("source", "revision", "asked_for"),
    [
        ("someone/band", None, ("someone/band", None)),
        ("someone/band@v1.2", None, ("someone/band", "v1.2")),
        ("someone/band", "refs/pr/3", ("someone/band", "refs/pr/3")),
    ],
)
def test_a_hub_id_is_fetched_without_what_could_carry_code(
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    revision: str | None,
    asked_for: tuple[str, str | None],
) -> None:
    asked = play_hub(monkeypatch, lambda: str(tiny_bundle))
    assert bundle_folder(source, revision=revision) == tiny_bundle
    [request] = asked
    assert (request["repo_id"], request["revision"]) == asked_for
    assert set(request["allow_patterns"]) == {"*.json", "*.safetensors", "*.onnx", "README.md"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (refusal(RepositoryNotFoundError), "check the name"),
        (refusal(RevisionNotFoundError), "no revision 'v9'"),
        (refusal(HfHubHTTPError), "cannot fetch"),
    ],
)
def test_what_the_hub_does_not_have_is_said_so(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[], str], said: str
) -> None:
    play_hub(monkeypatch, answer)
    with pytest.raises(BundleNotFound, match=said) as caught:
        bundle_folder("someone/band@v9")
    assert "more lines" not in str(caught.value)


def test_without_a_network_the_cache_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer() -> str:
        raise LocalEntryNotFoundError("offline")

    play_hub(monkeypatch, answer)
    with pytest.raises(BundleNotFound, match="not in the local cache") as caught:
        bundle_folder("someone/band")
    assert "'builtin', which needs no network" in str(caught.value)


def test_the_real_client_offline_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not played: the installed huggingface_hub, which the test environment keeps offline."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BundleNotFound, match="not in the local cache"):
        bundle_folder("someone/band")


def test_a_repository_without_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play_hub(monkeypatch, lambda: str(tmp_path))
    with pytest.raises(BundleNotFound, match="no bundle in 'someone/band'"):
        bundle_folder("someone/band")


def test_unknown_names_say_what_is_possible_and_what_is_near(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tiny_bundle(tmp_path / "my-band")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleNotFound, match="did you mean 'my-band'") as caught:
        bundle_folder("my-bend")
    assert "give 'builtin', a bundle's folder, or a hub id" in str(caught.value)
    with pytest.raises(BundleNotFound, match="did you mean 'builtin'"):
        bundle_folder("buildin")
    with pytest.raises(BundleNotFound) as caught:
        bundle_folder("zzz")
    assert "did you mean" not in str(caught.value)


def test_the_folder_above_a_bundle_points_to_it(tmp_path: Path) -> None:
    make_tiny_bundle(tmp_path / "mine")
    with pytest.raises(BundleNotFound, match=r"did you mean '.*mine'"):
        bundle_folder(tmp_path)


def test_a_path_that_looks_like_a_hub_id_is_never_sent_to_the_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def answer() -> str:
        raise AssertionError("the hub was asked")

    play_hub(monkeypatch, answer)
    with pytest.raises(BundleNotFound):
        bundle_folder(Path("some") / "band")
    for source in ("./some/band", "/some/band", "a/b/c", "some/band/", ".."):
        with pytest.raises(BundleNotFound):
            bundle_folder(source)


def test_revisions_of_what_has_none(tiny_bundle: Path) -> None:
    with pytest.raises(UsageError, match="no revisions"):
        bundle_folder(tiny_bundle, revision="main")
    with pytest.raises(UsageError, match="two revisions"):
        bundle_folder("someone/band@a", revision="b")


def test_pushing(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[dict[str, Any]] = []

    class PlayedApi:
        def create_repo(self, repo_id: str, **options: Any) -> SimpleNamespace:
            done.append({"create": repo_id, **options})
            return SimpleNamespace(repo_id=repo_id)

        def upload_folder(self, **options: Any) -> SimpleNamespace:
            done.append(options)
            return SimpleNamespace(commit_url="https://hub/commit/1")

    monkeypatch.setattr(huggingface_hub, "HfApi", PlayedApi)
    assert push_folder(tiny_bundle, "me/band", private=True, revision="dev") == "https://hub/commit/1"
    created, uploaded = done
    assert created == {"create": "me/band", "private": True, "exist_ok": True}
    assert uploaded["folder_path"] == tiny_bundle
    assert (uploaded["repo_id"], uploaded["revision"]) == ("me/band", "dev")


def test_a_push_that_is_refused(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class PlayedApi:
        def create_repo(self, repo_id: str, **options: Any) -> None:
            refusal(HfHubHTTPError)()

    monkeypatch.setattr(huggingface_hub, "HfApi", PlayedApi)
    with pytest.raises(BundleError, match="log in"):
        push_folder(tiny_bundle, "me/band", private=False, revision=None)
