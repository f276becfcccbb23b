"""Several programs on one host: `python benchmarks/tenants.py --host efficientnet-lite0 --tenants 8`.

Three ways to answer one batch of each tenant, interleaved; one thread, float32, no gradients:

separate    one model after the other: the engine keeps one frame, so that each tenant's is computed anew
joined      all canvases whole, through the host as one batch
tenants     `reprogram.Tenants`: each tenant's frame is kept
"""

import argparse
import platform
from functools import partial

import torch
from arms import random_task
from measure import interleaved
from torch import Tensor

from reprogram import Reprogrammed, Tenants, load_host
from reprogram.engine.tape import Tape
from reprogram.runs import processor


def separate(models: list[Reprogrammed], batches: list[Tensor]) -> list[Tensor]:
    """One call a tenant."""
    return [model(images) for model, images in zip(models, batches, strict=True)]


def joined(models: list[Reprogrammed], batches: list[Tensor]) -> list[Tensor]:
    """One dense call for all."""
    whole = [model.program(model.canvas(images)).dense() for model, images in zip(models, batches, strict=True)]
    scores = models[0].host(torch.cat(whole), labels=models[0].label_map.reads())
    parts = scores.split([len(images) for images in batches])
    return [model.label_map(part) for model, part in zip(models, parts, strict=True)]


def kept_bytes(tape: Tape) -> int:
    """What the frames on a tape take up; a tensor that lies there twice counts once."""
    found = {value.untyped_storage().data_ptr(): value for value in tape.results if isinstance(value, Tensor)}
    return sum(value.untyped_storage().nbytes() for value in found.values())


@torch.no_grad()
def main() -> None:
    """Measure each batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="efficientnet-lite0")
    parser.add_argument("--tenants", type=int, default=8)
    parser.add_argument("--window", type=int, default=28)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args()
    torch.set_num_threads(1)
    host, task = load_host(args.host), random_task(args.window, 3, 10, max(args.batches))
    models = [Reprogrammed.build(host, task, seed=seed) for seed in range(args.tenants)]
    print(f"{processor()}, {platform.system()}, torch {torch.__version__}, {args.host}, {args.tenants} tenants")
    for batch in args.batches:
        together, batches = Tenants(models), [task.train.images[:batch]] * args.tenants
        arms = {
            "separate": partial(separate, models, batches),
            "joined": partial(joined, models, batches),
            "tenants": partial(together, batches),
        }
        expected = separate(models, batches)
        for name, call in arms.items():
            for ours, theirs in zip(call(), expected, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3, msg=f"{name} differs")
        for name, times in interleaved(arms, seconds=args.seconds, least=3).items():
            low, high = times["quartiles_s"]
            rate = args.tenants * batch / times["median_s"]
            print(
                f"{batch:3d} images a tenant  {name:9s}{1000 * times['median_s']:9.0f} ms"
                f" ({1000 * low:.0f}-{1000 * high:.0f}){rate:8.1f} images/s"
            )
    tapes = [tape for shelf in together._shelves for tape in shelf.values()]
    if tapes:
        print(f"kept for a tenant: {max(map(kept_bytes, tapes)) / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
