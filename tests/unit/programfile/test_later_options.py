"""Files from before an option are read and written as they were."""

import torch

import reprogram
from helpers import tiny_model
from helpers_components import images
from reprogram.programfile.file import read


def test_files_from_before_the_new_options_read_and_write_as_they_did(tmp_path):
    """Options that came later are written only where they aren't their default."""
    plain, faint = tiny_model(), tiny_model(canvas="centre(contrast=0.5)")
    header = read(plain.save(tmp_path / "plain")).header.components["canvas"]
    assert "contrast" not in header.config
    path = faint.save(tmp_path / "faint")
    assert read(path).header.components["canvas"].config["contrast"] == 0.5
    again = reprogram.load(path, host=faint.host)
    assert torch.equal(again.canvas(images()).window, faint.canvas(images()).window)
