"""`kernel-gateway artifacts`: the files of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlets import List, Unicode

from kernel_gateway.commands.places import made_place, places
from kernel_gateway.commands.server import EXITS, SERVER_ALIASES, ServerCommand
from kernel_gateway.commands.table import aligned, harmless, size
from kernel_gateway.errors import ArtifactNotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel_gateway.client import Client
    from kernel_gateway.service import Artifact


class ArtifactsApp(ServerCommand):
    name = "kernel-gateway artifacts"
    description = f"""
        List the artifacts of a run: the files that its code has written, and what was too big to
        be part of its log.

        With --get or -o they are downloaded and their places are printed. Nothing is written
        outside of the folder, and no file that is there is replaced.
        {EXITS}"""
    examples = """
        kernel-gateway artifacts nightly-report
        kernel-gateway artifacts nightly-report --get=plot.png
        kernel-gateway artifacts nightly-report -o results
    """
    get = List(
        Unicode(),
        config=True,
        help="Name or ID of one to be downloaded. May be given more than once. Default: all.",
    )
    folder = Unicode(
        None,
        allow_none=True,
        config=True,
        help="Where they are put; made if it is not there. Default: the current folder.",
    )
    aliases: dict[Any, Any] = {
        **SERVER_ALIASES,
        "get": "ArtifactsApp.get",
        ("o", "output-dir"): "ArtifactsApp.folder",
    }

    def act(self, client: Client) -> int:
        run_id = self.one_argument("kernel-gateway artifacts ID [--get=NAME] [-o DIR]")
        found = client.artifacts(run_id)
        if not self.get and self.folder is None:
            _list(found)
        else:
            with self.client() as patient:  # it has answered once: now it may be away for a while
                self._download(patient, run_id, _chosen(found, self.get))
        return 0

    def _download(self, client: Client, run_id: str, artifacts: Sequence[Artifact]) -> None:
        folder = Path(self.folder or ".").expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        for artifact, place in places(artifacts):
            target = made_place(folder, place)
            client.download(run_id, artifact, target)
            print(harmless(str(target)), flush=True)


def _list(artifacts: Sequence[Artifact]) -> None:
    lines = [
        (artifact.id, size(artifact.size), harmless(artifact.mime), harmless(artifact.name))
        for artifact in artifacts
    ]
    for line in aligned([("ID", "SIZE", "TYPE", "NAME"), *lines]):
        print(line)


def _chosen(artifacts: Sequence[Artifact], wanted: Sequence[str]) -> Sequence[Artifact]:
    """In the order of the run. Raises `ArtifactNotFound`."""
    names = {name for artifact in artifacts for name in (artifact.id, artifact.name)}
    for name in wanted:
        if name not in names:
            raise ArtifactNotFound(f"The run has no artifact {harmless(name)!r}.")
    if not wanted:
        return artifacts
    return [one for one in artifacts if {one.id, one.name} & set(wanted)]
