"""The program file is read like a letter from a stranger: everything but the very file is refused in one line."""

import os
import pickle

import pytest
import torch

import reprogram
from reprogram.programfile.file import read


def test_every_bit_counts(good, tmp_path):
    """All single-bit flips; and the file is good again afterwards, so that each was the only one."""
    path = tmp_path / "bad.safetensors"
    path.write_bytes(good)
    accepted = []
    with path.open("r+b", buffering=0) as file:
        for position, byte in enumerate(good):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), position)
                try:
                    read(path)
                    accepted.append((position, bit))
                except reprogram.ProgramFileError:
                    pass
            os.pwrite(file.fileno(), bytes([byte]), position)
    assert accepted == []
    assert read(path).num_bytes == len(good)


def test_truncated_at_every_length(good, refused):
    for length in range(len(good)):
        refused(good[:length])


@pytest.mark.parametrize("tail", [b"\0", b" ", b"\0" * 8, b"x" * 1000])
def test_trailing_bytes_are_refused(good, refused, tail):
    refused(good + tail)


def test_other_files_are_refused(refused, tmp_path):
    for raw in (
        b"",
        b"\0",
        b"{}",
        b"\x89PNG\r\n\x1a\n" * 9,
        pickle.dumps({"a": 1}),
        b"PK\x03\x04" + b"\0" * 99,
        os.urandom(999),
    ):
        refused(raw)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "pickle.pt")
    refused((tmp_path / "pickle.pt").read_bytes())


def test_a_pickle_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    (tmp_path / "p").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(reprogram.ProgramFileError):
        read(tmp_path / "p")
    assert not (tmp_path / "owned").exists()


def test_odd_paths_are_refused(good, tmp_path, one_line):
    (tmp_path / "real").write_bytes(good)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "dangling", "loop", "fifo", "", "missing", "real/below", "x" * 300):
        with pytest.raises(reprogram.ProgramFileError) as error:
            read(tmp_path / name)
        one_line(error)


def test_a_run_folder_stands_for_its_program_and_other_folders_are_refused(good, tmp_path, one_line):
    with pytest.raises(reprogram.ProgramFileError) as error:
        read(tmp_path)
    one_line(error, "not an ordinary file")
    inside = tmp_path / "program.safetensors"
    inside.write_bytes(good)
    assert read(tmp_path).header.digest == read(inside).header.digest
    inside.write_bytes(good[:-1])
    with pytest.raises(reprogram.ProgramFileError) as error:
        read(tmp_path)
    one_line(error)
    inside.unlink()
    (tmp_path / "elsewhere").write_bytes(good)
    inside.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(reprogram.ProgramFileError) as error:
        read(tmp_path)
    one_line(error, "not an ordinary file")


def test_an_unreadable_file_is_refused(good, tmp_path, one_line):
    path = tmp_path / "p"
    path.write_bytes(good)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(reprogram.ProgramFileError) as error:
        read(path)
    one_line(error)
