"""One system in a process of its own, in its own environment: pictures or texts in, seconds out.

    PYTHON benchmarks/peers/worker.py NAME MODEL_FOLDER PRECISION

It answers each line of JSON on stdin with one on stdout: `{"images": FOLDER}` or
`{"texts": [...]}`, with `"save": FILE` to keep the vectors; `{"seconds": s, "count": n}`. Every
system is used the way its own documentation shows, with its own defaults where they do no harm.
Pictures are read from their files within the measured time. `plain-network` and `our-network` are
networks alone, on pictures that are prepared before the clock starts.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

CORES = len(os.sched_getaffinity(0))
BATCH = 32


def main() -> int:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print; stdout is for answers
    name, folder, precision = sys.argv[1:]
    system = SYSTEMS[name](Path(folder), precision)
    print(json.dumps({"ready": name}), file=answers, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        kind = next(kind for kind in ("images", "texts", "single") if kind in order)
        work = order[kind] if kind == "texts" else sorted(Path(order[kind]).glob("*.jpg"))
        if hasattr(system, "ready"):
            system.ready(work)
        start = time.perf_counter()
        vectors = getattr(system, kind)(work)
        seconds = time.perf_counter() - start
        if "save" in order:
            np.save(order["save"], np.asarray(vectors, np.float32))
        print(json.dumps({"seconds": seconds, "count": len(work)}), file=answers, flush=True)
    return 0


def batches(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[start : start + BATCH] for start in range(0, len(items), BATCH)]


class Ours:
    """Crossbind as its service uses it: callers decode and prepare, the batcher's workers run."""

    def __init__(self, folder: Path, precision: str) -> None:
        from embed import registry
        from embed.batcher import Batcher

        options = registry.LoadOptions(cache=folder / "cache", threads=CORES, offline=True)
        self.tower = registry.load(f"open_clip:{folder / 'open_clip'}+{precision}", options)
        self.tower.warm()
        self.batcher = Batcher(self.tower)
        self.callers = ThreadPoolExecutor(CORES)
        self.clients = ThreadPoolExecutor(2 * CORES * self.tower.batching.max_batch)

    def images(self, paths: Sequence[Path]) -> Any:
        def submit(path: Path) -> Any:
            return self.batcher.submit(self._decoded(path))

        return np.stack([f.result().joint for f in list(self.callers.map(submit, paths))])

    def texts(self, texts: Sequence[str]) -> Any:
        from embed.types import Media, Modality

        found = self.batcher.embed([Media(Modality.TEXT, text) for text in texts])
        return np.stack([one.joint for one in found])

    def single(self, paths: Sequence[Path]) -> Any:
        """Many clients at once, each with one picture, each waiting for its answer."""

        def ask(path: Path) -> Any:
            return self.batcher.embed([self._decoded(path)])[0].joint

        return np.stack(list(self.clients.map(ask, paths)))

    def _decoded(self, path: Path) -> Any:
        from embed.media.image import decode_image

        return decode_image(path.read_bytes(), min_side=self.tower.image_side)


class OurNetwork(Ours):
    """The tower's network alone, as many batches at once as its workers."""

    def ready(self, paths: Sequence[Path]) -> None:
        self.prepared = [self.tower.prepare(self._decoded(path)) for path in paths]

    def images(self, _: Sequence[Path]) -> Any:
        from embed.types import Modality

        workers, size = self.tower.batching
        parts = [self.prepared[n : n + size] for n in range(0, len(self.prepared), size)]
        with ThreadPoolExecutor(workers) as pool:
            found = pool.map(lambda part: self.tower.run(Modality.IMAGE, part).joint, parts)
            return np.concatenate(list(found))


class OpenClip:
    """The loop of open_clip's README, pictures read by a DataLoader with a worker a core."""

    def __init__(self, folder: Path, precision: str) -> None:
        import open_clip
        import torch

        self.torch = torch
        name = f"local-dir:{folder / 'open_clip'}"
        self.model = open_clip.create_model(name, precision=precision).eval()
        self.transform = open_clip.image_transform(224, is_train=False)
        self.tokenize = open_clip.get_tokenizer(name)
        self.dtype = open_clip.get_input_dtype(precision) or torch.float32

    def images(self, paths: Sequence[Path]) -> Any:
        loader = self.torch.utils.data.DataLoader(
            Pictures(paths, self.transform), batch_size=BATCH, num_workers=CORES
        )
        return self._rows(self.model.encode_image, loader)

    def texts(self, texts: Sequence[str]) -> Any:
        return self._rows(self.model.encode_text, map(self.tokenize, batches(texts)))

    def _rows(self, encode: Any, inputs: Any) -> Any:
        with self.torch.inference_mode():
            rows = []
            for batch in inputs:
                values = batch.to(self.dtype) if batch.is_floating_point() else batch
                rows.append(encode(values, normalize=True).float())
            return self.torch.cat(rows).numpy()


class Pictures:
    """What a DataLoader reads."""

    def __init__(self, paths: Sequence[Path], transform: Any) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Any:
        from PIL import Image

        return self.transform(Image.open(self.paths[number]).convert("RGB"))


class PlainNetwork(OpenClip):
    """open_clip's network alone."""

    def ready(self, paths: Sequence[Path]) -> None:
        read = Pictures(paths, self.transform)
        every = [read[number] for number in range(len(paths))]
        self.prepared = [self.torch.stack(tuple(part)) for part in batches(every)]

    def images(self, _: Sequence[Path]) -> Any:
        return self._rows(self.model.encode_image, self.prepared)


class Transformers:
    """CLIPModel and CLIPProcessor."""

    def __init__(self, folder: Path, precision: str) -> None:
        import torch
        from transformers import CLIPModel, CLIPProcessor

        self.torch = torch
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        self.model = CLIPModel.from_pretrained(folder / "hf", dtype=dtype).eval()
        self.processor = CLIPProcessor.from_pretrained(folder / "hf")

    def images(self, paths: Sequence[Path]) -> Any:
        from PIL import Image

        def read(part: Sequence[Path]) -> Any:
            return self.processor(images=[Image.open(p) for p in part], return_tensors="pt")

        found = (self.model.get_image_features, (read(part) for part in batches(paths)))
        return self._rows(*found)

    def texts(self, texts: Sequence[str]) -> Any:
        read = (
            self.processor(text=list(part), padding=True, return_tensors="pt")
            for part in batches(texts)
        )
        return self._rows(self.model.get_text_features, read)

    def _rows(self, encode: Any, inputs: Any) -> Any:
        rows = []
        with self.torch.inference_mode():
            for values in inputs:
                found = encode(**values.to(self.model.dtype))
                found = getattr(found, "pooler_output", found)
                rows.append(self.torch.nn.functional.normalize(found.float(), dim=-1))
        return self.torch.cat(rows).numpy()


class SentenceTransformers:
    def __init__(self, folder: Path, precision: str) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        self.model = SentenceTransformer(
            str(folder / "hf"), device="cpu", model_kwargs={"dtype": dtype}
        )

    def images(self, paths: Sequence[Path]) -> Any:
        from PIL import Image

        pictures = [Image.open(path) for path in paths]
        return self.model.encode(pictures, batch_size=BATCH, normalize_embeddings=True)

    def texts(self, texts: Sequence[str]) -> Any:
        return self.model.encode(list(texts), batch_size=BATCH, normalize_embeddings=True)


class ClipRetrieval:
    """The reader and the mapper of `clip-retrieval inference`; what it writes is left out.

    fp32 alone on a CPU. Pictures alone: it raises KeyError where texts lie beside them.
    """

    def __init__(self, folder: Path, precision: str) -> None:
        from all_clip import load_clip
        from clip_retrieval.clip_inference.mapper import ClipMapper

        assert precision == "fp32"
        model = f"hf_clip:{folder / 'hf'}"
        _, self.preprocess, self.tokenizer = load_clip(model, use_jit=False)
        self.mapper = ClipMapper(True, False, False, False, model, False, "")

    def images(self, paths: Sequence[Path]) -> Any:
        from clip_retrieval.clip_inference.reader import FilesReader

        reader = FilesReader(
            lambda keys: keys,
            self.preprocess,
            self.tokenizer,
            str(paths[0].parent),
            batch_size=min(256, len(paths)),
            num_prepro_workers=4,
            enable_text=False,
        )
        return np.concatenate([self.mapper(batch)["image_embs"] for batch in reader])


class Infinity:
    """infinity-emb's engine in this process, no HTTP."""

    def __init__(self, folder: Path, precision: str) -> None:
        from infinity_emb import AsyncEmbeddingEngine, EngineArgs

        arguments = EngineArgs(
            model_name_or_path=str(folder / "hf"),
            engine="torch",
            device="cpu",
            dtype={"fp32": "float32", "bf16": "bfloat16"}[precision],
            bettertransformer=False,
            model_warmup=False,
        )
        self.loop = asyncio.new_event_loop()
        self.engine = AsyncEmbeddingEngine.from_args(arguments)
        self.loop.run_until_complete(self.engine.astart())

    def images(self, paths: Sequence[Path]) -> Any:
        from PIL import Image

        pictures = [Image.open(io.BytesIO(path.read_bytes())) for path in paths]
        found, _ = self.loop.run_until_complete(self.engine.image_embed(images=pictures))
        return np.stack(found)

    def texts(self, texts: Sequence[str]) -> Any:
        found, _ = self.loop.run_until_complete(self.engine.embed(sentences=list(texts)))
        return np.stack(found)


SYSTEMS = {
    "ours": Ours,
    "our-network": OurNetwork,
    "open_clip": OpenClip,
    "plain-network": PlainNetwork,
    "transformers": Transformers,
    "sentence-transformers": SentenceTransformers,
    "clip-retrieval": ClipRetrieval,
    "infinity-emb": Infinity,
}

if __name__ == "__main__":
    sys.exit(main())
