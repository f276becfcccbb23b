"""Several programs on one host: `python benchmarks/shared_host.py --host efficientnet-lite0 --programs 8`.

Three ways to answer one batch for each model, interleaved; one thread, float32, no gradients:

separate    one model after the other: the engine keeps one frame, so that each model's is computed anew
joined      all canvases whole, through the host as one batch
shared host `reprogram.SharedHost`: each program's frame is kept
"""

import argparse
import platform
from functools import partial

import torch
from arms import random_task
from measure import interleaved
from torch import Tensor

from reprogram import Reprogrammed, SharedHost, load_host
from reprogram.engine.frame_cache import FrameCache
from reprogram.utils.environment import processor


def separate(models: list[Reprogrammed], batches: list[Tensor]) -> list[Tensor]:
    """One call a model."""
    return [model(images) for model, images in zip(models, batches, strict=True)]


def joined(models: list[Reprogrammed], batches: list[Tensor]) -> list[Tensor]:
    """One dense call for all."""
    whole = [model.program(model.canvas(images)).dense() for model, images in zip(models, batches, strict=True)]
    scores = models[0].host(torch.cat(whole), labels=models[0].label_map.reads())
    parts = scores.split([len(images) for images in batches])
    return [model.label_map(part) for model, part in zip(models, parts, strict=True)]


def kept_bytes(tape: FrameCache) -> int:
    """What the frames on a tape take up; a tensor that lies there twice counts once."""
    found = {value.untyped_storage().data_ptr(): value for value in tape.results if isinstance(value, Tensor)}
    return sum(value.untyped_storage().nbytes() for value in found.values())


@torch.no_grad()
def main() -> None:
    """Measure each batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="efficientnet-lite0")
    parser.add_argument("--programs", type=int, default=8)
    parser.add_argument("--window", type=int, default=28)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args()
    torch.set_num_threads(1)
    host, task = load_host(args.host), random_task(args.window, 3, 10, max(args.batches))
    models = [Reprogrammed.build(host, task, seed=seed) for seed in range(args.programs)]
    print(f"{processor()}, {platform.system()}, torch {torch.__version__}, {args.host}, {args.programs} programs")
    for batch in args.batches:
        shared, batches = SharedHost(models), [task.train.images[:batch]] * args.programs
        arms = {
            "separate": partial(separate, models, batches),
            "joined": partial(joined, models, batches),
            "shared host": partial(shared, batches),
        }
        expected = separate(models, batches)
        for name, call in arms.items():
            for ours, theirs in zip(call(), expected, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3, msg=f"{name} differs")
        for name, times in interleaved(arms, seconds=args.seconds, least=3).items():
            low, high = times["quartiles_s"]
            rate = args.programs * batch / times["median_s"]
            print(
                f"{batch:3d} images a model  {name:9s}{1000 * times['median_s']:9.0f} ms"
                f" ({1000 * low:.0f}-{1000 * high:.0f}){rate:8.1f} images/s"
            )
    caches = [cache for store in shared._stores for cache in store.values()]
    if caches:
        print(f"kept for a model: {max(map(kept_bytes, caches)) / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
