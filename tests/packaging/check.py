"""The package as users get it: `python tests/packaging/check.py`, which is `make packaging`.

Wheel and sdist are built from what Git tracks, and installed in clean environments outside of the checkout, for each
Python that is on this machine: the command line works, a program is learned and used, each extra installs alone and its
package is imported, and uninstalling leaves nothing behind. Registries are asked as `pip` is configured.

`--base ENV` takes the dependencies from an environment that is there already, which saves gigabytes and checks less:
the bounds of `pyproject.toml` are then only compared (`pip check`), not resolved.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = ("python3.11", "python3.12", "python3.13", "python3.14")
IMPORTED = {
    "data": "mlxtend", "ray": "ray", "remote": "httpx2", "serve": "fastapi", "onnx": "onnxruntime",
    "hf": "transformers", "openvino": "openvino", "tensorboard": "tensorboard", "parquet": "pyarrow",
    "mlflow": "mlflow", "wandb": "wandb",
    "trackio": "trackio", "hub": "huggingface_hub", "clip": "open_clip",
}  # fmt: skip
"""A package that each extra brings; extras for developers aren't checked."""
TINY = ("--host", "linear:32", "--task", "digits", "--epochs", "1", "--baselines", "none", "--quiet", "--threads", "1")


def run(*command: object, cwd: Path, check: bool = True, timeout: float = 3600) -> str:
    """The output of a command, which finds nothing of the checkout; it fails with its last lines."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout
    )
    if check and done.returncode:
        raise SystemExit(
            f"{' '.join(map(str, command))}: exit {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}"
        )
    return done.stdout


def built(folder: Path) -> tuple[Path, Path]:
    """Wheel and sdist of the tracked files, and what they hold."""
    source = folder / "source"
    source.mkdir()
    names = run("git", "ls-files", "-z", cwd=ROOT).split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    tools = environment(sys.executable, folder / "tools")
    pip(tools, folder, "build")
    run(tools, "-m", "build", "--outdir", folder / "dist", source, cwd=folder)
    (wheel,), (sdist,) = (folder / "dist").glob("*.whl"), (folder / "dist").glob("*.tar.gz")
    held = zipfile.ZipFile(wheel).namelist()
    package = {n for n in names if n.startswith("src/reprogram/")}
    missing = {n.removeprefix("src/") for n in package} - set(held)
    assert not missing, f"the wheel lacks {sorted(missing)[:5]}"
    assert all(n.startswith("reprogram") for n in held), "the wheel holds files beside the package"
    with tarfile.open(sdist) as archive:
        members = archive.getnames()
    assert any(m.endswith("/src/reprogram/py.typed") or m.endswith("/pyproject.toml") for m in members)
    print(f"built {wheel.name} ({wheel.stat().st_size:,} bytes) and {sdist.name} ({sdist.stat().st_size:,} bytes)")
    return wheel, sdist


def environment(python: str, folder: Path, base: Path | None = None) -> Path:
    """The interpreter of a new environment; with `base`, another environment's packages are seen in it too."""
    run(python, "-m", "venv", folder, cwd=folder.parent)
    interpreter = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if base is not None:
        (site(interpreter, folder) / "zz_base.pth").write_text(f"{base}\n")
    return interpreter


def site(python: Path, cwd: Path) -> Path:
    """The folder of an environment's packages."""
    return Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=cwd).strip())


def pip(python: Path, cwd: Path, *what: object) -> None:
    """Install packages."""
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what, cwd=cwd)


def used(python: Path, cwd: Path) -> None:
    """The installed command line: help, versions, a program learned, shown and used; nothing of the checkout."""
    command = python.with_name("reprogram")
    where = run(python, "-c", "import reprogram; print(reprogram.__file__)", cwd=cwd).strip()
    assert not Path(where).is_relative_to(ROOT), where
    version = run(command, "--version", cwd=cwd).strip()
    assert version and "--minutes" in run(command, "demo", "--help", cwd=cwd)
    assert "frame" in run(command, "list", "programs", cwd=cwd) and json.loads(
        run(command, "doctor", "--json", cwd=cwd)
    )
    result = json.loads(run(command, "fit", *TINY, "--out", "run", "--json", cwd=cwd))
    assert result["test"]["n"] > 0 and (cwd / "run" / "report.html").stat().st_size > 1000
    code = "from PIL import Image; Image.new('L', (8, 8), 90).save('a.png')"
    run(python, "-c", code, cwd=cwd)
    program = cwd / "run" / "program.safetensors"
    (answer,) = json.loads(run(command, "predict", program, "a.png", "--json", "--quiet", cwd=cwd))
    assert answer["label"] in "0123456789"
    run(command, "card", "run", "--out", "card", cwd=cwd)
    print(f"  reprogram {version}: help, doctor, fit, predict and card work")


def left_over(python: Path, cwd: Path, before: set[str]) -> None:
    """Uninstall, and refuse what it leaves behind in the environment."""
    run(python, "-m", "pip", "uninstall", "--yes", "--quiet", "reprogram", cwd=cwd)
    left = {name for name in files(python.parents[1]) - before if "reprogram" in name}
    assert not left, f"uninstalling leaves {sorted(left)[:5]}"
    print("  uninstalling leaves nothing behind")


def files(folder: Path) -> set[str]:
    """The names of all files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def extra(python: str, wheel: Path, name: str, folder: Path, base: Path) -> None:
    """One extra alone, beside what the package itself brings."""
    interpreter = environment(python, folder / f"extra-{name}", base)
    pip(interpreter, folder, f"{wheel}[{name}]")
    run(interpreter, "-c", f"import reprogram, {IMPORTED[name]}", cwd=folder)
    print(f"  [{name}] installs and imports {IMPORTED[name]}", flush=True)


def here() -> list[str]:
    """The Pythons on this machine: on the path, or of pyenv, whose commands may be there and not work."""
    found = []
    for name in VERSIONS:
        others = sorted((Path.home() / ".pyenv" / "versions").glob(f"*/bin/{name}"))
        for command in filter(None, (shutil.which(name), *map(str, others))):
            if not subprocess.run([command, "--version"], capture_output=True, check=False).returncode:
                found.append(command)
                break
    return found


def main() -> None:
    """Check everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", nargs="*", default=here())
    parser.add_argument("--extras", nargs="*", default=sorted(IMPORTED))
    parser.add_argument("--base", type=Path, help="an environment that has the dependencies")
    options = parser.parse_args()
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    unchecked = set(stated) - set(IMPORTED) - {"dev", "docs", "judges"}
    assert not unchecked, f"extras without a package to import: {sorted(unchecked)}"
    with tempfile.TemporaryDirectory(prefix="packaging-") as name:
        folder = Path(name)
        wheel, sdist = built(folder)
        for python in options.python:
            print(run(python, "--version", cwd=folder).strip(), flush=True)
            shared = site(options.base / "bin" / "python", folder) if options.base else None
            for kind, archive in {"wheel": wheel, "sdist": sdist}.items():
                interpreter = environment(python, folder / f"{Path(python).name}-{kind}", shared)
                shared = shared or site(interpreter, folder)  # The second environment sees the first one's packages.
                before = files(interpreter.parents[1])
                arguments = ["--no-deps"] if options.base else []
                pip(interpreter, folder, *arguments, "--force-reinstall" if options.base else "--upgrade", archive)
                cwd = folder / f"{Path(python).name}-{kind}-work"
                cwd.mkdir()
                print(f" from the {kind}:", flush=True)
                used(interpreter, cwd)
                if kind == "sdist":
                    left_over(interpreter, cwd, before)
            for name in options.extras:
                assert shared is not None
                extra(python, wheel, name, folder / f"{Path(python).name}-sdist-work", shared)
    print("the package works as users get it")


if __name__ == "__main__":
    main()
