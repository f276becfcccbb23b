"""How much of a step is left to win: `python benchmarks/kernels.py`; `--inference --batch 1` for answers.

PyTorch's profiler tells what part of the engine's step its convolutions and matrix products take, which are the
libraries' (oneDNN, BLAS). The ratio over the peers' step that would be reached if all else took no time is the limit of
everything but faster kernels, or fewer multiplications. One thread, arms interleaved, window 28.
"""

import argparse
import platform

import arms
from measure import interleaved
from torch.profiler import ProfilerActivity, profile

from reprogram.utils.environment import processor
from reprogram.utils.process import start_torch

HOSTS = (
    "torchvision:mobilenet_v2?pretrained=0",
    "efficientnet-lite0",
    "torchvision:squeezenet1_1?pretrained=0",
    "torchvision:resnet50?pretrained=0",
    "torchvision:resnet18?pretrained=0",
)
KERNELS = (
    "mkldnn::_convolution_pointwise",
    "mkldnn::_linear_pointwise",
    "aten::mkldnn_convolution",
    "aten::mkldnn_convolution_backward",
    "aten::convolution_backward",
    "aten::addmm",
    "aten::mm",
    "aten::bmm",
)
STEPS = 10


def main() -> None:
    """Measure every host, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inference", action="store_true")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    start_torch(1)
    import torch

    torch.set_num_threads(1)
    print(f"{processor()}, {platform.system()}, torch {torch.__version__}, window 28, batch {options.batch}")
    for host in HOSTS:
        how = {"host": host, "window": 28, "batch": options.batch, "num_classes": 10, "train": not options.inference}
        calls = {name: arms.build(name, **how) for name in ("peers", "engine")}
        found = {
            name: arm["median_s"] for name, arm in interleaved(calls, seconds=options.seconds, least=STEPS).items()
        }
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            for _ in range(STEPS):
                calls["engine"]()
        events = profiled.key_averages()
        total = sum(event.self_cpu_time_total for event in events)
        share = sum(event.self_cpu_time_total for event in events if event.key in KERNELS) / total
        ratio = found["peers"] / found["engine"]
        print(
            f"{host}: peers {1000 * found['peers']:.1f} ms, engine {1000 * found['engine']:.1f} ms, ratio {ratio:.2f}; "
            f"kernels are {share:.0%} of the engine's, limit {ratio / share:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
