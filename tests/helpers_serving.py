"""A real server of `reprogram serve` in a thread of the tests' process, on a port of its own."""

import contextlib
import threading
import time

import httpx2
import torch

import reprogram
from helpers import ConvNet, random_task, seeded
from reprogram.serving.run import serve


def host(num_classes=24, size=32, wait_s=0.0):
    """A tiny host; each call takes `wait_s` seconds longer than it needs."""
    net = seeded(lambda: ConvNet(num_classes=num_classes))

    class Slow(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, pixels):
            time.sleep(wait_s)
            return self.net(pixels)

    return reprogram.Host.wrap(Slow() if wait_s else net, size=size, name="served")


def models(on=None, wait_s=0.0):
    """Two programs on one host: one has a frame, the other none; one takes grey images."""
    on = on or host(wait_s=wait_s)
    if wait_s:
        on.run_as_is()
    specs = {
        "framed": ("frame(init=1.0)", "centre", "random(seed=3)", (3, 8, 8), 4),
        "filled": ("full(init=1.0)", "resize", "first", (1, 6, 7), 3),
    }
    built = {}
    for seed, (name, (program, canvas, label_map, shape, classes)) in enumerate(specs.items()):
        task = random_task(shape=shape, num_classes=classes, separable=False, seed=seed)
        built[name] = reprogram.Reprogrammed.build(
            on, task, program=program, canvas=canvas, label_map=label_map, seed=seed
        )
    return built


class Running:
    """A server that runs, and a client of it.

    Attributes:
        url: of the server.
        desk: its state.
        client: asks it.
    """

    def __init__(self, server, port, headers):
        self.server, self.desk, self.port = server, server.desk, port
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx2.Client(base_url=self.url, timeout=30, headers=headers, trust_env=False)

    def post(self, path, content, **headers):
        return self.client.post(path, content=content, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def infer(self, model, document):
        return self.client.post(f"/v2/models/{model}/infer", json=document)


@contextlib.contextmanager
def running(served=None, *, headers=None, **options):
    """A server in a thread, until the block ends; it must end by itself then."""
    started, box, whole = threading.Event(), [], []

    def on_start(server, port):
        box.append(Running(server, port, headers))
        started.set()

    def target():
        try:
            whole.append(serve(served or models(), port=0, on_start=on_start, **options))
        finally:
            started.set()

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    assert started.wait(60)
    (run,) = box
    try:
        yield run
    finally:
        run.client.close()
        run.server.should_exit = True
        thread.join(60)
    assert not thread.is_alive() and whole == [True]
