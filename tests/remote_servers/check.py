"""Real servers on the loopback, each in its own environment: `make remote-servers`.

KServe and MLServer serve a small ONNX model; hosts ask them in every format that they take, and their scores are held
against NumPy's. KServe's client asks `reprogram serve`. Triton's client writes the requests that ours writes, and reads
what ours reads. The environments are made on demand in the folder that REMOTE_SERVERS names, by default
.remote-servers, from a package registry.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import torch

import reprogram
from reprogram.registry import configure

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from helpers_server import ModelServer, logits  # noqa: E402

PACKAGES = {
    "kserve": ["kserve>=0.21,<0.22", "onnx>=1.20,<2", "onnxruntime>=1.22,<2"],
    "mlserver": ["mlserver>=1.7,<1.8", "onnx>=1.20,<2", "onnxruntime>=1.22,<2", "pillow>=11,<14"],
    "triton": ["tritonclient[http]>=2.60,<3"],
}
SIZE, LABELS = 48, 10
FORMATS = {"kserve": ("json", "binary", "base64"), "mlserver": ("json", "base64")}
"""The formats that each server takes: MLServer has no binary tensors over HTTP, and KServe turns elements of type BYTES
into UTF-8, which files aren't."""


def python_of(name, folder):
    """The interpreter of an environment, which is made where it isn't there."""
    python, ready = folder / name / "bin" / "python", folder / name / "ready"
    wanted = " ".join(PACKAGES[name])
    if not (ready.exists() and ready.read_text() == wanted):
        print(f"{name}: making {folder / name}", flush=True)
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder / name)], check=True)
        quiet = ["--quiet", "--disable-pip-version-check"]
        subprocess.run([str(python), "-m", "pip", "install", *quiet, *PACKAGES[name]], check=True)
        ready.write_text(wanted)
    return str(python)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def started(name, python, folder):
    """A server's process and URL, once it is ready."""
    model = folder / "model.onnx"
    subprocess.run([python, str(HERE / "onnx_model.py"), str(model), str(SIZE), str(LABELS)], check=True)
    ports = [free_port() for _ in range(3)]
    with (folder / f"{name}.log").open("wb") as log:
        arguments = [python, str(HERE / f"{name}_app.py"), str(model), *map(str, ports)]
        process = subprocess.Popen(arguments, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    url = f"http://127.0.0.1:{ports[0]}"
    for _ in range(240):
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/v2/models/pixels/ready", timeout=2) as answer:  # noqa: S310
                if answer.status == 200:
                    return process, url
        except OSError:
            time.sleep(0.5)
    raise SystemExit(f"{name} didn't start; see {folder / name}.log")


def check_server(name, url):
    """Every format's scores are NumPy's, a wrong question gets one line, and a run learns and keeps its bill."""
    pixels = torch.rand(9, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    expected = logits((pixels * 255).round().permute(0, 2, 3, 1).numpy(), LABELS)
    for form in FORMATS[name]:
        model, more = ("files", f"&size={SIZE}") if form in ("bytes", "base64") else ("pixels", "")
        host = reprogram.load_host(f"oip:{url}?model={model}&format={form}&batch=4{more}")
        scores = host(pixels).numpy()
        error = float(np.abs(scores - expected).max())
        assert host.info.num_classes == LABELS and error < 1e-3, (form, error)
        meter = host.meter
        assert (meter.requests, meter.images, meter.lost, meter.retries) == (3, 9, 0, 0)
        print(f"{name} {form}: 9 images in 3 requests, largest error {error:.1e}", flush=True)
    for spec, words in {
        f"oip:{url}?model=nothing": "nothing",
        f"oip:{url}?model=pixels&datatype=FP64": "HTTP 4 HTTP 5 refuses 500 400",
    }.items():
        try:
            reprogram.load_host(f"{spec}&retries=0")(pixels)
        except reprogram.ReprogramError as error:
            assert "\n" not in str(error) and any(word in str(error) for word in words.split()), str(error)
            print(f"{name}: {error}", flush=True)
    task = reprogram.load_task("squares(train=64, validation=32, test=32)")
    host = reprogram.load_host(f"oip:{url}?model=pixels&batch=32")
    built = reprogram.Reprogrammed.build(host, task, program="tiles(side=3)", label_map="first")
    result = reprogram.fit(built, task, learner="snes", queries=1000, batch_size=32)
    assert 0 < result.queries <= 1000 and host.meter.images <= 1000 and host.meter.lost == 0
    print(f"{name}: a run asked for {result.queries} images in {host.meter.requests} requests", flush=True)


def check_triton(python):
    """Triton's client writes our requests byte for byte after the JSON, and reads a server's answer as we do."""
    images = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    with ModelServer() as server:
        cases = []
        for form, datatype in (("json", "FP32"), ("binary", "FP32"), ("binary", "UINT8"), ("bytes", "BYTES")):
            spec = f"oip(url='{server.url}', model='m', format='{form}', datatype='{datatype}', input='pixels', "
            variant, config = configure("hosts", spec + f"output='scores', layout='NCHW', size={SIZE}, num_classes=10)")
            request = variant(config).encode(images)
            cases.append(
                {
                    "format": form,
                    "datatype": datatype,
                    "body": request.body.hex(),
                    "length": request.headers.get("Inference-Header-Content-Length"),
                }
            )
        scores = logits(images, LABELS)
        document = {"url": server.url, "images": images.tolist(), "scores": scores.tolist(), "cases": cases}
        subprocess.run(
            [python, str(HERE / "triton_judge.py")], input=json.dumps(document), text=True, check=True, timeout=300
        )


def check_kserve_client(python):
    """KServe's client asks our server: tensors as JSON and binary, files, health."""
    import base64

    from helpers_serving import models, running
    from reprogram.utils.images import to_png

    served = models()
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        scores = served["framed"](images)
    with running(served) as run:
        document = {
            "url": run.url,
            "model": "framed",
            "images": images.tolist(),
            "scores": scores.tolist(),
            "labels": [served["framed"].task.classes[i] for i in scores.argmax(1).tolist()],
            "files": [base64.b64encode(to_png(image.float() / 255)).decode() for image in images],
        }
        subprocess.run(
            [python, str(HERE / "kserve_client.py")], input=json.dumps(document), text=True, check=True, timeout=300
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[], help="kserve, mlserver, triton; all by default")
    names = parser.parse_args().names or list(PACKAGES)
    folder = Path(os.environ.get("REMOTE_SERVERS") or ".remote-servers").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        python = python_of(name, folder)
        if name == "triton":
            check_triton(python)
            continue
        if name == "kserve":
            check_kserve_client(python)
        process, url = started(name, python, folder)
        try:
            check_server(name, url)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)
    print(f"remote servers: {', '.join(names)} agree")


if __name__ == "__main__":
    main()
