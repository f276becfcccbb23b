"""Writes docs/reference/*.md from the code before Sphinx reads its sources.

One page per family from the registry, and one with every name of `reprogram.__all__`. A variant that was dropped in,
or that an installed package brings, appears by itself.
"""

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import ablation
import compared
import defences
import few_shot
import learning
import paper
import reached
import time_to_accuracy
from sphinx.application import Sphinx

import reprogram
import results
from reprogram import registry
from reprogram.runs import recipes

INTROS = {
    "hosts": "Where frozen classifiers come from. {doc}`../concepts` says what a host does with pixels.",
    "tasks": "Where labelled images come from, in the splits train, validation and test.",
    "canvases": "How a task image is placed in the host's input. Nothing is learned here.",
    "programs": "What is learned.",
    "label-maps": "How host scores become task scores.",
    "learners": "What improves the program.",
    "augmentations": "How training images vary each time they are seen. Validation and test see them as they are.",
    "losses": "What learning minimises. `auto`, the default, is no file: it stands for `host` or `task`.",
    "trackers": "Tools that a run is followed in. {doc}`../tracking` says what they are told.",
    "baselines": "What an accuracy is held against. Chance and majority are measured for every run.",
    "defences": "What an operator puts before a host: `defended:HOST?by=NAME`. {doc}`../defences` measures them.",
    "detectors": "What reads a host's queries, and says which look like a program: {doc}`../detectors`.",
    "exporters": "The formats of exported files. {doc}`../export` says what is in them and what is checked.",
    "formats": "The files that an audit is reported in, beside `audit.json`: `reprogram audit HOST --format NAME`.",
}
EXAMPLES = {
    "hosts": "timm:resnet50.a1_in1k",
    "tasks": "squares(train=1000)",
    "canvases": "shuffled(seed=1)",
    "programs": "frame(init=0.1)",
    "label-maps": "many-to-one(labels_per_class=5)",
    "learners": "adam(learning_rate=0.1)",
    "augmentations": "shift(pixels=3)",
    "losses": "margin(margin=0.5)",
    "baselines": "direct-training",
    "defences": "jpeg(quality=50)",
    "detectors": "repeated-border(share=0.6)",
    "trackers": 'mlflow(experiment="digits")',
    "exporters": "onnx(opset=20)",
    "formats": "sarif(location='models/host.toml')",
}


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", lambda app: write(Path(app.srcdir) / "reference"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write(folder: Path) -> None:
    """Write every page; pages whose text is unchanged aren't touched, pages of yore are removed."""
    pages = {f"{family}.md": family_page(family) for family in registry.FAMILIES}
    pages |= {
        "recipes.md": recipes_page(),
        "api.md": api_page(),
        "results.md": results.page(),
        **{f"{name}.md": paper.page(name) for name in paper.INTRO},
        "ablation.md": ablation.page(),
        "few-shot.md": few_shot.page(),
        "learning.md": learning.page(),
        "defences-measured.md": defences.page(),
        "reached.md": reached.page(),
        "recipes-compared.md": compared.page(),
        "time-to-accuracy.md": time_to_accuracy.page(),
    }
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.md"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def recipes_page() -> str:
    """Each recipe with its source and options."""
    lines = [
        "# Recipes",
        "",
        "`reprogram fit --recipe NAME`: all options that aren't given beside it are as the recipe says.",
        "",
    ]
    for name in recipes.names():
        recipe = recipes.read(name)
        options = [f"    {key} = {value!r}" for key, value in recipe.fit.items()]
        lines += [f"## {name}", "", recipe.summary, "", recipe.source.strip(), "", *options, ""]
    return "\n".join(lines)


def family_page(family: str) -> str:
    """A family: a table of its variants, then each with its options."""
    variants = {name: registry.find(family, name) for name in registry.names(family)}
    lines = [f"# {family.replace('-', ' ').capitalize()}", "", INTROS.get(family, ""), ""]
    if family in EXAMPLES:
        lines += [f"A spec, for example: `{EXAMPLES[family]}`", ""]
    lines += ["| name | what it is |", "|---|---|"]
    lines += [f"| [`{name}`](#{family}-{name}) | {cell(registry.summary(family, name))} |" for name in variants]
    for name, variant in variants.items():
        lines += ["", f"({family}-{name})=", f"## {name}", "", markdown(inspect.getdoc(variant) or ""), ""]
        lines += options(variant.Config)
    return "\n".join(lines) + "\n"


def options(config: type[Any]) -> list[str]:
    """The table of a `Config`'s fields."""
    fields = dataclasses.fields(config)
    if not fields:
        return ["No options."]
    meanings = attributes(config)
    lines = ["| option | type | default | meaning |", "|---|---|---|---|"]
    for field in fields:
        lines.append(
            f"| `{field.name}` | {code(type_name(field.type))} | {default(field)} "
            f"| {cell(meanings.get(field.name, ''))} |"
        )
    return lines


def default(field: "dataclasses.Field[Any]") -> str:
    """A field's default as Python would write it."""
    if field.default is not dataclasses.MISSING:
        return code(repr(field.default))
    if field.default_factory is not dataclasses.MISSING:
        return code(repr(field.default_factory()))
    return "required"


def type_name(hint: Any) -> str:
    """A type as the source writes it."""
    plain = isinstance(hint, type) and not hasattr(hint, "__args__")
    return hint.__name__ if plain else str(hint).replace("typing.", "")


def attributes(config: type[Any]) -> dict[str, str]:
    """The `Attributes:` sections of a `Config` and of what it derives from, by the fields' names."""
    found: dict[str, str] = {}
    for base in reversed(config.__mro__):
        text = inspect.cleandoc(base.__doc__ or "")
        section = re.search(r"^Attributes:\n((?:[ ]{4}.*\n?|\n)*)", text, re.MULTILINE)
        if not section:
            continue
        name = ""
        for line in inspect.cleandoc(section[1]).splitlines():
            start = re.match(r"(\w+):\s*(.*)", line)
            if start:
                name = start[1]
                found[name] = start[2]
            elif name:
                found[name] += " " + line.strip()
    return found


def code(text: str) -> str:
    """Code for a cell of a Markdown table."""
    return "`" + text.replace("|", "\\|") + "`"


def cell(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return escaped(text).replace("|", "\\|")


def markdown(text: str) -> str:
    """A docstring as Markdown; what follows `Args:` and its like isn't for readers of this page."""
    return escaped(re.split(r"^(?:Args|Attributes|Raises|Returns):$", text, maxsplit=1, flags=re.MULTILINE)[0].strip())


def escaped(text: str) -> str:
    """Escape what Markdown would take for markup, outside of `code`."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*<\[\]])", r"\\\1", part) for part in parts)


def api_page() -> str:
    """Every public name, by the module that defines it."""
    homes: dict[str, list[str]] = {}
    for name in reprogram.__all__:
        if not name.startswith("_"):
            homes.setdefault(getattr(reprogram, name).__module__, []).append(name)
    lines = ["# Python API", "", "Every name here is imported from `reprogram` itself.", ""]
    order = ("reprogram.model", "reprogram.training.fit", "reprogram.evaluation.metrics")
    for home in sorted(homes, key=lambda home: (order.index(home) if home in order else len(order), home)):
        module = inspect.getmodule(getattr(reprogram, homes[home][0]))
        lines += [
            f"## {home.removeprefix('reprogram.')}",
            "",
            markdown((inspect.getdoc(module) or "").split("\n\n")[0]),
        ]
        lines += ["", "```{eval-rst}"]
        for name in homes[home]:
            if isinstance(getattr(reprogram, name), type):
                lines += [f".. autoclass:: reprogram.{name}", "   :members:", "   :show-inheritance:", ""]
            else:
                lines += [f".. autofunction:: reprogram.{name}", ""]
        lines += ["```", ""]
    return "\n".join(lines)
