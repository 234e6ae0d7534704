"""`crossbind export`: a tower becomes a folder of ONNX graphs that needs no torch.

Every encoder that offers its network (`Encoder.network`, see `recipes.Network`) is traced,
written in the precision asked for, and compared with torch; its recipe and tokenizer go beside it
and `crossbind.json` is written last. int8 is kept only where the neighbours of real media stay
(`recall`). The folder is made aside and renamed, so it is whole or not there.
"""

from __future__ import annotations

import errno
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embed import registry
from embed.backends.onnx_runtime import folder as onnx_folder
from embed.backends.onnx_runtime import recall as onnx_recall
from embed.backends.onnx_runtime.folder import Manifest
from embed.backends.onnx_runtime.recall import FEWEST, Prepared, Recall
from embed.backends.onnx_runtime.space import OnnxTower
from embed.backends.onnx_runtime.writer import Writer
from embed.backends.tower import Tower
from embed.errors import BadInput, Conflict, StorageFull
from embed.registry import Capabilities, LoadOptions
from embed.types import Modality
from embed.weights.folder import absolute

log = logging.getLogger(__name__)

PRECISIONS = ("fp32", "fp16", "int8")
LEAST_RECALL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was exported.

    space: name of the new space. pairs: media that it reads together ("text+image").
    left_out: modalities whose encoder offers no network, and pairs. gaps: by modality or pair, the
        largest difference of any number of a unit vector from torch's; none for graphs that were
        there already. recalls: against the tower as it was.
    """

    space: str
    folder: Path
    precision: str
    modalities: tuple[Modality, ...]
    pairs: tuple[str, ...]
    left_out: tuple[str, ...]
    bytes: int
    gaps: Mapping[str, float]
    recalls: tuple[Recall, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "space": self.space,
            "folder": str(self.folder),
            "precision": self.precision,
            "modalities": list(self.modalities),
            "pairs": list(self.pairs),
            "left_out": list(self.left_out),
            "bytes": self.bytes,
            "gaps": dict(self.gaps),
            "recalls": [recall.to_json() for recall in self.recalls],
        }


def export(
    tower: Tower,
    about: Capabilities,
    folder: Path,
    options: LoadOptions,
    *,
    precision: str = "fp32",
    check: Path | None = None,
) -> ExportReport:
    """Writes `folder`, which must not be there or be empty, and says what it cost.

    tower: one that has not run yet, as running fits its networks to this processor. about: what
        it says of itself. check: a folder of media to measure recall with; int8 needs it.
    Raises BadInput for a tower or precision that cannot be exported, or that loses too many
    neighbours; Conflict for a folder in use; StorageFull; BackendFailed where a graph differs.
    """
    folder = absolute(folder)
    _refuse(about, folder, precision, check)
    media = _media(check, tower, precision) if check else {}
    with _made_aside(folder) as fresh:
        writer = Writer(tower, fresh, precision)
        for modality in sorted(tower.modalities, key=lambda m: (m is Modality.VIDEO, m)):
            writer.add(modality)
        writer.add_pairs()
        manifest = _manifest(about, tower, writer, precision)
        recalls = _recalls(tower, manifest, media, options)
        checked = {"gaps": writer.gaps, "recalls": [recall.to_json() for recall in recalls]}
        onnx_folder.write(replace(manifest, checked=checked), fresh)
    made = onnx_folder.read(folder)
    return ExportReport(
        space=made.space.name,
        folder=folder,
        precision=precision,
        modalities=tuple(made.encoders),
        pairs=tuple("+".join(pair["parts"]) for pair in made.pairs),
        left_out=tuple(writer.left_out),
        bytes=made.bytes,
        gaps=writer.gaps,
        recalls=tuple(recalls),
    )


def export_space(
    name: str,
    folder: Path,
    options: LoadOptions,
    *,
    precision: str = "fp32",
    check: Path | None = None,
) -> ExportReport:
    """`export` of the space called `name`, loaded for it: towers in use may be packed."""
    tower = registry.load(name, options)
    if not isinstance(tower, Tower):
        raise BadInput(
            f"{name} is bound of several towers: export each of them, and name the folders in "
            "its manifest",
            param="space",
        )
    about = registry.describe(name, options)
    return export(tower, about, folder, options, precision=precision, check=check)


def _refuse(about: Capabilities, folder: Path, precision: str, check: Path | None) -> None:
    """What can be known to fail before anything is loaded."""
    if precision not in PRECISIONS:
        raise BadInput(
            f"the precision is {precision!r}; the choices are: {', '.join(PRECISIONS)}",
            param="precision",
        )
    if about.space.precision != "fp32":
        raise BadInput(
            f"{about.space.name} is in {about.space.precision} already: export it without its "
            "+suffix, and say --precision",
            param="space",
        )
    if precision == "int8" and check is None:
        raise BadInput(
            "int8 changes which neighbours are found, so it is measured: add --check FOLDER, some "
            f"hundred of your own media, at least {FEWEST} of each kind",
            param="check",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} is there already and is not empty: name another", param="folder")


def _media(check: Path, tower: Tower, precision: str) -> Prepared:
    """Raises BadInput where there are too few to judge by."""
    media = onnx_recall.gather(check, tower)
    wanted = tower.modalities - {Modality.VIDEO} if precision == "int8" else frozenset()
    few = sorted(wanted - media.keys())
    if few or not media:
        raise BadInput(
            f"{check} holds fewer than {FEWEST} pieces of {', '.join(few) or 'anything'} that can "
            "be read, and fewer tell nothing of recall: add some",
            param="check",
        )
    log.info("checking with %s", ", ".join(f"{len(batch)} {m}" for m, batch in media.items()))
    return media


def _manifest(about: Capabilities, tower: Tower, writer: Writer, precision: str) -> Manifest:
    """Raises BadInput when nothing of the tower could be written."""
    if not writer.encoders:
        raise BadInput(
            f"{about.space.name} cannot be exported: none of its encoders offers its network",
            param="space",
        )
    return Manifest(
        folder=writer.folder,
        origin=about.space.id,
        precision=precision,
        dim=about.space.dim,
        native_dims={m: dim for m, dim in about.native_dims.items() if m in writer.encoders},
        preprocessing=about.preprocessing,
        chunker=tower.chunker,
        image_side=tower.image_side,
        licence=about.licence,
        source=about.source,
        encoders=writer.encoders,
        pairs=writer.pairs,
        files=onnx_folder.facts_of(writer.folder),
        checked={},
    )


def _recalls(
    tower: Tower, manifest: Manifest, media: Prepared, options: LoadOptions
) -> Sequence[Recall]:
    """Raises BadInput when one of them is below LEAST_RECALL."""
    made = OnnxTower(manifest, threads=options.threads)
    both = {modality: batch for modality, batch in media.items() if modality in made.modalities}
    recalls = onnx_recall.judge(tower, made, both)
    for recall in recalls:
        log.info("recall@10 of %s", recall)
    lost = [recall for recall in recalls if not recall.recall >= LEAST_RECALL]
    if lost:
        raise BadInput(
            f"{manifest.precision} loses too many neighbours: recall@10 of "
            f"{', '.join(map(str, lost))}, and {LEAST_RECALL} is wanted; export in "
            f"{'fp16 or ' if manifest.precision == 'int8' else ''}fp32",
            param="precision",
        )
    return recalls


@contextmanager
def _made_aside(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of `folder` when all went well."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            fresh = work / "fresh"
            fresh.mkdir()
            yield fresh
            fresh.rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"no space left for {folder}: free some, or name another") from error
        raise BadInput(
            f"{folder} cannot be written ({error.strerror or error}): name another folder",
            param="folder",
        ) from error
