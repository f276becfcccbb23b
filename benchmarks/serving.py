"""Load on `reprogram serve`: answers, throughput, latency, memory and the stop, each against the model itself.

    python benchmarks/serving.py load --requests 100000     64 clients, mixed batches and formats, every answer checked
    python benchmarks/serving.py throughput                 images a second, beside the bare model at the same batch
    python benchmarks/serving.py latency                    percentiles at half of that load, beside the bare model's
    python benchmarks/serving.py soak --minutes 30          memory over time
    python benchmarks/serving.py stop --times 10            SIGTERM under load

The server is a process of its own, started by each command; its clients are coroutines that write HTTP themselves. The
program is a stored one that counts squares on EfficientNet-Lite0. Results go to results/serving/COMMAND.json.
"""

import argparse
import asyncio
import base64
import contextlib
import io
import json
import os
import platform
import random
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "results/paper/runs/squares-EfficientNet_Lite0-frame-s0-94d2eb12/program.safetensors"
OUT = ROOT / "results" / "serving"
CORES = os.sched_getaffinity(0)
IMAGES = 256
"""Different images that are asked about."""
TOLERANCE = 1e-4
"""The largest difference of a probability from that of `predict`."""


class Expected:
    """The images, and what the model itself says of them: task labels and probabilities, the host's too."""

    def __init__(self, threads):
        import torch

        import reprogram

        torch.set_num_threads(threads)
        self.model = reprogram.load(PROGRAM)
        task = reprogram.load_task(f"squares(train=10, validation=10, test={IMAGES})")
        self.images = task.test.images.numpy()
        rng = np.random.default_rng(0)
        self.photos = rng.integers(0, 256, (32, 3, *self.model.host.info.size), dtype=np.uint8)
        with torch.no_grad(), on_a_core_of_its_own():
            one_by_one = [self.model(image[None]).softmax(1) for image in torch.from_numpy(self.images)]
            self.squares = torch.cat(one_by_one).numpy()
            pixels = torch.from_numpy(self.photos).float() / 255
            self.host = torch.cat([self.model.host(photo[None]).softmax(1) for photo in pixels]).numpy()
        self.files = [png(image[0]) for image in self.images]
        self.torch = torch

    def bare(self, name, batch, seconds):
        """Images a second of the model itself, and its seconds of CPU an image."""
        torch = self.torch
        source = self.images if name == "squares" else self.photos
        images = torch.from_numpy(source[np.arange(batch) % len(source)])
        with torch.no_grad(), on_a_core_of_its_own():
            call = (
                (lambda: self.model(images)) if name == "squares" else (lambda: self.model.host(images.float() / 255))
            )
            call()
            times, cpu, start = [], time.process_time(), time.perf_counter()
            while time.perf_counter() - start < seconds:
                before = time.perf_counter()
                call()
                times.append(time.perf_counter() - before)
        return {
            "images_per_s": batch * len(times) / (time.perf_counter() - start),
            "cpu_s_per_image": (time.process_time() - cpu) / (batch * len(times)),
            "median_s": float(np.median(times)),
            "p99_s": float(np.quantile(times, 0.99)),
        }


@contextlib.contextmanager
def on_a_core_of_its_own():
    """Compute where OMP_PROC_BIND puts the threads: two that wait for each other on one core hardly move.

    This thread is bound by it too, and so would be its clients and the servers that it starts: afterwards it isn't.
    """
    os.sched_setaffinity(0, {min(CORES)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES)


def png(values):
    """An image as a PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


class Server:
    """`reprogram serve` as a process."""

    def __init__(self, threads, *more):
        command = [sys.executable, "-m", "reprogram", "serve", f"squares={PROGRAM}", "--port", "0", "--json"]
        self.command = [*command, "--threads", str(threads), *more]
        free = {key: value for key, value in os.environ.items() if key != "OMP_PROC_BIND"}
        self.process = subprocess.Popen(  # noqa: S603
            self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, env=free
        )
        text = b""
        while not text.rstrip().endswith(b"}"):
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit("the server didn't start")
            text += line
        self.port = json.loads(text)["port"]

    def memory(self):
        """Resident bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def cpu(self):
        """Seconds of CPU until now."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        """Tell it to stop, and give its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(150)


class Client:
    """One connection that is kept alive; it connects anew where the server closes it."""

    def __init__(self, port):
        self.port, self.reader, self.writer = port, None, None

    async def ask(self, path, body, headers=""):
        """Post a body; the status, the header fields and the content of the answer."""
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        self.writer.write(head.encode() + body)
        answer = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(answer.split(" ", 2)[1])
        fields = dict(line.split(": ", 1) for line in answer.split("\r\n")[1:] if ": " in line)
        content = await self.reader.readexactly(int(fields["content-length"]))
        if fields.get("connection") == "close":
            await self.close()
        return status, fields, content

    async def close(self):
        """Close the connection, if there is one."""
        if self.writer is not None:
            self.writer.close()
            with contextlib.suppress(OSError):
                await self.writer.wait_closed()
        self.writer = None


def request(kind, name, indices, expected):
    """The path, body and headers of a request for some images."""
    images = (expected.images if name == "squares" else expected.photos)[indices]
    path = f"/v2/models/{name}/infer"
    tensor = {"name": "image", "shape": list(images.shape), "datatype": "UINT8"}
    wishes = [{"name": "probabilities"}, {"name": "labels"}]
    if kind == "json":
        return (
            path,
            json.dumps({"inputs": [{**tensor, "data": images.reshape(-1).tolist()}], "outputs": wishes}).encode(),
            "",
        )
    if kind == "classify":
        return f"/v1/classify?model={name}&top=1000", png(images[0].transpose(1, 2, 0).squeeze()), ""
    if kind == "base64":
        files = [base64.b64encode(expected.files[i]).decode() for i in indices]
        tensor = {"name": "image", "shape": [len(files)], "datatype": "BYTES", "data": files}
        return path, json.dumps({"inputs": [tensor], "outputs": wishes}).encode(), ""
    raw = images.tobytes()
    if kind == "bytes":
        raw = b"".join(struct.pack("<I", len(expected.files[i])) + expected.files[i] for i in indices)
        tensor = {"name": "image", "shape": [len(indices)], "datatype": "BYTES"}
    tensor["parameters"] = {"binary_data_size": len(raw)}
    wishes[0]["parameters"] = {"binary_data": True}
    head = json.dumps({"inputs": [tensor], "outputs": wishes}).encode()
    return path, head + raw, f"Inference-Header-Content-Length: {len(head)}\r\n"


def is_right(name, indices, fields, content, expected):
    """Whether an answer has the labels of the model itself, and its probabilities up to rounding."""
    wanted = (expected.squares if name == "squares" else expected.host)[indices]
    names = expected.model.task.classes if name == "squares" else expected.model.host.info.class_names
    end = fields.get("inference-header-content-length")
    document = json.loads(content if end is None else content[: int(end)])
    if "predictions" in document:
        got = {item["label"]: item["probability"] for item in document["predictions"]}
        numbers, labels = np.array([[got.get(n, -1.0) for n in names]]), [document["label"]]
    else:
        probabilities, labels = document["outputs"][0], document["outputs"][1]["data"]
        flat = probabilities.get("data") or np.frombuffer(content[int(end) :], "<f4")
        numbers = np.reshape(flat, probabilities["shape"])
    if numbers.shape != wanted.shape or np.abs(numbers - wanted).max() > TOLERANCE:
        return False
    ties = np.sort(wanted, 1)[:, -1] - np.sort(wanted, 1)[:, -2] < TOLERANCE
    return all(tie or label == names[i] for label, i, tie in zip(labels, wanted.argmax(1), ties, strict=True))


KINDS = ("json", "binary", "bytes", "base64", "classify")
BATCHES = (1, 1, 1, 1, 2, 3, 4, 8, 16, 32)


async def load(port, expected, count, clients, seed=0, deadline=None):
    """Many clients, each with one request after the other."""
    statuses, wrong, latencies, images, left = Counter(), 0, [], 0, count

    async def client(number):
        nonlocal wrong, images, left
        chance, one = random.Random(seed * 1000 + number), Client(port)
        while left > 0 and (deadline is None or time.monotonic() < deadline):
            left -= 1
            name = "host" if chance.random() < 0.05 else "squares"
            kind = chance.choice(KINDS if name == "squares" else ("binary", "classify"))
            batch = 1 if kind == "classify" or name == "host" else chance.choice(BATCHES)
            indices = np.array(
                [chance.randrange(len(expected.images if name == "squares" else expected.photos)) for _ in range(batch)]
            )
            start = time.perf_counter()
            status, fields, content = await one.ask(*request(kind, name, indices, expected))
            latencies.append(time.perf_counter() - start)
            statuses[status] += 1
            images += batch
            if status == 200 and not is_right(name, indices, fields, content, expected):
                wrong += 1
        await one.close()

    start = time.perf_counter()
    await asyncio.gather(*map(client, range(clients)))
    seconds = time.perf_counter() - start
    return {
        "requests": sum(statuses.values()),
        "clients": clients,
        "images": images,
        "statuses": {str(key): value for key, value in sorted(statuses.items())},
        "status_5xx": sum(value for key, value in statuses.items() if key >= 500),
        "wrong_answers": wrong,
        "seconds": seconds,
        "requests_per_s": sum(statuses.values()) / seconds,
        "images_per_s": images / seconds,
        **percentiles(latencies),
    }


def percentiles(latencies):
    """The median and two high percentiles."""
    return {f"p{q}_s": float(np.quantile(latencies, q / 100)) for q in (50, 90, 99)} if latencies else {}


async def saturated(port, expected, name, batch, seconds, clients=4):
    """Images a second where binary requests of one size are always waiting."""
    indices = np.arange(batch) % len(expected.images if name == "squares" else expected.photos)
    asked = request("binary", name, indices, expected)
    images, end = 0, time.perf_counter() + seconds

    async def client():
        nonlocal images
        one = Client(port)
        while time.perf_counter() < end:
            status, _, _ = await one.ask(*asked)
            assert status == 200
            images += batch
        await one.close()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return images / (time.perf_counter() - start), images


async def paced(port, expected, per_s, seconds, seed=0):
    """Latencies of single images that come at random times, at a rate; from when each was due."""
    chance, latencies, idle = random.Random(seed), [], []
    asked = [request("binary", "squares", np.array([i]), expected) for i in range(64)]

    async def one(due):
        client = idle.pop() if idle else Client(port)
        status, _, _ = await client.ask(*asked[chance.randrange(64)])
        assert status == 200
        latencies.append(time.perf_counter() - due)
        idle.append(client)

    tasks, due, end = set(), time.perf_counter(), time.perf_counter() + seconds
    while due < end:
        due += chance.expovariate(per_s)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.create_task(one(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    for client in idle:
        await client.close()
    return latencies


def run_load(options, expected):
    """Answers under load, and what memory they took over time."""
    server, memory = Server(options.threads), []

    async def watched():
        watching = asyncio.create_task(watch(server, memory))
        result = await load(server.port, expected, options.requests, options.clients)
        watching.cancel()
        return result

    try:
        before = server.memory()
        result = asyncio.run(watched())
        result |= {"memory_before": before, "memory_after": server.memory(), **growth(memory)}
    finally:
        result_code = server.stop()
    return result | {"exit_code": result_code}


async def watch(server, memory):
    """Note the server's memory in MiB, three times a minute."""
    while True:
        await asyncio.sleep(20)
        memory.append(round(server.memory() / 2**20, 1))


def growth(memory):
    """Memory by thirds of a minute, and how it grows once the first third of the time is over."""
    later = memory[len(memory) // 3 :]
    slope = float(np.polyfit(np.arange(len(later)), later, 1)[0]) * 3 if len(later) > 2 else 0.0
    return {"memory_mib": memory, "growth_mib_per_minute_after_a_third": slope}


def run_throughput(options, expected):
    """Bare model and server take turns, so that what else runs on the machine slows both down."""
    rows = []
    server = Server(options.threads)
    try:
        for name, batch in (("squares", 32), ("squares", 8), ("host", 8)):
            bare, served, cpu = [], [], []
            for _ in range(options.rounds):
                bare.append(expected.bare(name, batch, options.seconds))
                before = server.cpu()
                per_s, images = asyncio.run(saturated(server.port, expected, name, batch, options.seconds))
                served.append(per_s)
                cpu.append((server.cpu() - before) / images)
            bare_per_s = float(np.median([b["images_per_s"] for b in bare]))
            bare_cpu = float(np.median([b["cpu_s_per_image"] for b in bare]))
            rows.append(
                {
                    "model": name,
                    "batch": batch,
                    "bare_images_per_s": bare_per_s,
                    "served_images_per_s": float(np.median(served)),
                    "ratio": float(np.median([s / b["images_per_s"] for s, b in zip(served, bare, strict=True)])),
                    "bare_cpu_s_per_image": bare_cpu,
                    "served_cpu_s_per_image": float(np.median(cpu)),
                    "ratio_of_cpu": bare_cpu / float(np.median(cpu)),
                }
            )
    finally:
        server.stop()
    return {"rows": rows, "rounds": options.rounds, "seconds_each": options.seconds}


def run_latency(options, expected):
    """Latencies at half of the most requests a second, beside the model's own."""
    server = Server(options.threads)
    try:
        rows = []
        for number in range(options.rounds):
            bare = expected.bare("squares", 1, options.seconds)
            full, _ = asyncio.run(saturated(server.port, expected, "squares", 1, options.seconds, clients=16))
            latencies = asyncio.run(paced(server.port, expected, full / 2, options.seconds * 3, seed=number))
            rows.append(
                {
                    "bare_median_s": bare["median_s"],
                    "bare_p99_s": bare["p99_s"],
                    "full_requests_per_s": full,
                    "requests": len(latencies),
                    **percentiles(latencies),
                }
            )
    finally:
        server.stop()
    ratios = [row["p99_s"] / row["bare_median_s"] for row in rows]
    to_p99 = [row["p99_s"] / row["bare_p99_s"] for row in rows]
    return {"rows": rows, "p99_to_bare_median": float(np.median(ratios)), "p99_to_bare_p99": float(np.median(to_p99))}


def run_soak(options, expected):
    """Memory under a load that goes on: that of `load`, for a time instead of a number of requests."""
    server, memory = Server(options.threads), []

    async def watched():
        watching = asyncio.create_task(watch(server, memory))
        end = time.monotonic() + 60 * options.minutes
        result = await load(server.port, expected, 10**9, options.clients, deadline=end)
        watching.cancel()
        return result

    try:
        result = asyncio.run(watched())
    finally:
        server.stop()
    return {**result, "minutes": options.minutes, **growth(memory)}


def run_stop(options, expected):
    """SIGTERM while clients ask as fast as they can: what becomes of every request that was sent."""
    outcomes, codes = Counter(), []

    async def scenario(server, keep):
        stopping = asyncio.Event()

        async def client(number):
            chance, one = random.Random(number), Client(server.port)
            while True:
                indices = np.array([chance.randrange(IMAGES) for _ in range(chance.choice((1, 2, 5)))])
                sent = False
                try:
                    if one.writer is None:
                        one.reader, one.writer = await asyncio.open_connection("127.0.0.1", server.port)
                    sent = True
                    status, fields, content = await one.ask(*request("binary", "squares", indices, expected))
                    right = status == 200 and is_right("squares", indices, fields, content, expected)
                    outcomes[f"answered {status}" if right or status != 200 else "wrong"] += 1
                except ConnectionRefusedError:
                    outcomes["refused to connect"] += 1
                    return
                except (OSError, asyncio.IncompleteReadError):
                    outcomes["lost after it was sent" if sent else "not connected"] += 1
                    return
                if not keep:
                    await one.close()
                if stopping.is_set() and chance.random() < 0.05:
                    await asyncio.sleep(0.05)

        async def stop():
            await asyncio.sleep(1.0 + random.random())
            stopping.set()
            server.process.send_signal(signal.SIGTERM)

        await asyncio.gather(stop(), *(client(n) for n in range(options.clients)))
        codes.append(await asyncio.to_thread(server.process.wait, 150))

    for number in range(options.times):
        asyncio.run(scenario(Server(options.threads), keep=number % 2 == 0))
    return {"times": options.times, "clients": options.clients, "outcomes": dict(outcomes), "exit_codes": codes}


COMMANDS = {"load": run_load, "throughput": run_throughput, "latency": run_latency, "soak": run_soak, "stop": run_stop}


def machine():
    """What the numbers were measured on."""
    import torch

    import reprogram

    ask = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(ask, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": names[0].partition(": ")[2] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load_average_at_start": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "reprogram": reprogram.__version__,
        "commit": commit.stdout.strip(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def main():
    """Run a command and store its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2, help="of the server and of the bare model")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    os.environ["OMP_PROC_BIND"] = "true"  # Of this process, before it loads PyTorch.
    start, facts = time.perf_counter(), machine()
    result = COMMANDS[options.command](options, Expected(options.threads))
    out = options.out or OUT / f"{options.command}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    words = " ".join(sys.argv[1:]).partition(" --out")[0]
    document = {
        "command": f"python benchmarks/serving.py {words}",
        "threads": options.threads,
        **result,
        "seconds_in_all": time.perf_counter() - start,
        "load_average_at_end": os.getloadavg()[0],
        "machine": facts,
    }
    out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
