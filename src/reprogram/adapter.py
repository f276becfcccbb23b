"""The modules around a host (canvas, program and label map), and the record of the task that they were built for."""

import inspect
import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from reprogram.canvases.base import Canvas
from reprogram.errors import ConfigError
from reprogram.labelmaps.base import LabelMap
from reprogram.programs.base import Program, require_frame
from reprogram.registry import Component, find, is_listed
from reprogram.tasks.base import Task

MAX_PIXELS = 2**20
"""The most pixels of a host's input, and of a task image: 1024 x 1024. A stranger's file can't ask for more."""

MAX_VALUES = 3 * MAX_PIXELS
"""The most values (channels x pixels) of either."""


@dataclass(frozen=True, kw_only=True)
class TaskRecord:
    """What a program file keeps of the task that the program was learned for.

    Attributes:
        name: the task's name.
        classes: the task's k class names.
        fingerprint: a digest of the task's images and labels.
        shape: c, h, w of the task's images, in pixels.
    """

    name: str
    classes: tuple[str, ...]
    fingerprint: str
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, task: Task) -> "TaskRecord":
        """The record of a loaded task.

        Args:
            task: the task; none of its images are kept.
        """
        return cls(name=task.name, classes=task.class_names, fingerprint=task.fingerprint, shape=task.image_shape)

    def difference(self, task: Task) -> str | None:
        """What a task has that this one hasn't, in words; None where classes and shape are the same.

        Args:
            task: another task, or this one with whatever images.
        """
        if task.image_shape != self.shape:
            return f"images of {task.image_shape} instead of {self.shape}, channels, height and width"
        if len(task.class_names) != len(self.classes):
            return f"{len(task.class_names)} classes instead of {len(self.classes)}"
        if task.class_names == self.classes:
            return None
        there, here = next(pair for pair in zip(task.class_names, self.classes, strict=True) if pair[0] != pair[1])
        order = ", the same ones in another order" if sorted(task.class_names) == sorted(self.classes) else ""
        return f"the class {there!r} where {here!r} is expected{order}"


@dataclass(kw_only=True)
class Provenance:
    """What a program file says about its origin.

    Attributes:
        created_by: the program and version that wrote the file.
        metrics: the numbers of its run, by name.
    """

    created_by: str = ""
    metrics: dict[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """The three modules around a host, in the order in which a batch passes them.

    Attributes:
        canvas: places task images in the host's input.
        program: the learned input.
        label_map: turns host scores into task scores.
    """

    canvas: Canvas
    program: Program
    label_map: LabelMap

    def learned_state(self) -> dict[str, Tensor]:
        """Copies of all tensors of program and label map, on the CPU, by the names that the program file uses."""
        return {
            f"{prefix}.{name}": value.detach().cpu().clone()
            for prefix, module in self._learned()
            for name, value in module.state_dict().items()
        }

    def load_learned_state(self, state: dict[str, Tensor]) -> None:
        """Load the tensors that `learned_state` returned.

        Args:
            state: tensors by the names `program.NAME` and `label_map.NAME`; other names are ignored.
        """
        for prefix, module in self._learned():
            module_state = {
                key.removeprefix(f"{prefix}."): value for key, value in state.items() if key.startswith(f"{prefix}.")
            }
            module.load_state_dict(module_state)

    def _learned(self) -> tuple[tuple[str, nn.Module], tuple[str, nn.Module]]:
        return ("program", self.program), ("label_map", self.label_map)


def require_listed(family: str, component: Component) -> None:
    """Refuse a component that its spec doesn't stand for: whoever reads the spec would get another one, or none.

    Args:
        family: the component's, such as `programs`.
        component: the component.

    Raises:
        ConfigError: no variant of the family bears its name, or another class does.
    """
    variant, name = type(component), component.name()
    if not is_listed(family, name) or find(family, name) is not variant:
        taken = f"{name!r} is another one" if is_listed(family, name) else f"none is called {name!r}"
        raise ConfigError(
            f"{variant.__module__}.{variant.__name__} can't be found by a spec: of the listed {family} {taken}; give "
            "its file another name, and list it (docs/writing-a-variant.md)"
        )


def compose(
    chosen: dict[str, tuple[type[Any], Any]],
    *,
    image_shape: tuple[int, int, int],
    host_shape: tuple[int, int, int],
    num_host_labels: int,
    num_task_labels: int,
) -> Adapter:
    """Build canvas, program and label map from their classes and configurations.

    Args:
        chosen: class and configuration of each, by family: `canvases`, `programs` and `label-maps`.
        image_shape: c, h, w of a task image, in pixels.
        host_shape: C, H, W of the host's input, in pixels.
        num_host_labels: K, the number of the host's labels.
        num_task_labels: k, the number of the task's labels.

    Returns:
        The three modules, with start values.

    Raises:
        ConfigError: the three don't fit each other, or an image shape is too large.
    """
    for what, shape in (("task image", image_shape), ("canvas", host_shape)):
        if shape[1] * shape[2] > MAX_PIXELS or math.prod(shape) > MAX_VALUES:
            raise ConfigError(
                f"a {what} of {'x'.join(map(str, shape))} values; at most {MAX_PIXELS:,} pixels and "
                f"{MAX_VALUES:,} values are handled, use smaller images or another host"
            )
    (canvas_type, canvas_config), (program_type, program_config) = chosen["canvases"], chosen["programs"]
    map_type, map_config = chosen["label-maps"]
    canvas = _made(canvas_type, canvas_config, image_shape=image_shape, host_shape=host_shape)
    program = _made(program_type, program_config, geometry=canvas.geometry)
    if program.confined and list(program.parameters()):
        require_frame(program.name(), canvas.geometry)
    columns = num_host_labels * program.num_groups
    label_map = _made(map_type, map_config, num_host_labels=columns, num_task_labels=num_task_labels)
    return Adapter(canvas=canvas, program=program, label_map=label_map)


def _made(variant: type[Any], config: Any, **arguments: Any) -> Any:
    """A component; where its own `__init__` takes other arguments than its family's do, a line that says so."""
    try:
        inspect.signature(variant).bind(config, **arguments)
    except TypeError as error:
        names = ", ".join(["config", *(f"{name}=..." for name in arguments)])
        where = f"{variant.__module__}.{variant.__name__}"
        raise ConfigError(f"{where}: its __init__ can't be called with {names} ({error}); mend this file") from None
    return variant(config, **arguments)
