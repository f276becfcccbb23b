"""A small program file, and the reader that refuses others."""

import pytest

import reprogram
from helpers_components import small_model
from reprogram.programfile.file import read


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def good(model, tmp_path_factory):
    return model.save(tmp_path_factory.mktemp("good") / "p.safetensors").read_bytes()


@pytest.fixture
def refused(tmp_path, one_line):
    """Writes bytes and expects the reader to refuse them, in one short line that names the file."""

    def check(raw, *texts):
        path = tmp_path / "bad.safetensors"
        path.write_bytes(raw)
        with pytest.raises(reprogram.ProgramFileError) as error:
            read(path)
        message = one_line(error, "bad.safetensors", *texts)
        assert message.isprintable()
        assert len(message) < 600 + len(str(path))
        return message

    return check
