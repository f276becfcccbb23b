"""Coverage-guided fuzzing of the parser of specs: `python -m attacks.fuzz_spec -max_total_time=300`.

Needs atheris (`pip install atheris`), which isn't a dependency.
"""

import sys

import atheris

with atheris.instrument_imports(include=["reprogram.registry"]):
    import reprogram.registry  # noqa: F401

from attacks import mutate


def one_input(data: bytes) -> None:
    """Whatever the text is: refused in one line, or configured; nothing unlisted is imported."""
    provider = atheris.FuzzedDataProvider(data)
    if provider.ConsumeBool():
        text = provider.ConsumeUnicode(len(data))
    else:
        text = mutate.spec(lambda n: provider.ConsumeIntInRange(0, n - 1))
    before = set(sys.modules)
    mutate.check_spec(text)
    assert all(name.startswith("reprogram.") for name in set(sys.modules) - before)


if __name__ == "__main__":
    for example in ("centre", "frame", "patch(height=2, width=2)", "first", "digits", "squares", "folder:x"):
        mutate.check_spec(example)  # What these import is imported now.
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
