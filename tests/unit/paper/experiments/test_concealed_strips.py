"""The pictures of a test image stay together: what was added lies between the task image and what the host sees."""

import re

import pytest

from helpers import ROOT
from reprogram.paper.experiments import base
from reprogram.paper.experiments.concealed import _strips
from reprogram.paper.page import write_page
from reprogram.paper.store import ResultStore

TRIPLE, PAIR = ("the task image", "added, × 10", "the host sees this"), ("added, × 10", "the host sees this")


@pytest.mark.parametrize("of_each", [TRIPLE, PAIR])
@pytest.mark.parametrize("count", [1, 3])
def test_each_group_is_one_test_image(of_each, count):
    names = ["the photograph", *(f"{name} {i}" if "sees" in name else name for i in range(count) for name in of_each)]
    photo, groups = _strips([[name, f"data:,{index}"] for index, name in enumerate(names)], "ε")
    assert [picture.caption for picture in photo.pictures] == ["the photograph"] and photo.caption == "ε"
    assert groups.together == len(of_each) and [picture.caption for picture in groups.pictures] == names[1:]


def test_the_page_has_an_element_for_each_group(tmp_path):
    kept = ResultStore(ROOT / "results" / "paper")
    blocks = [b for b in base.find("concealed").show(kept) if isinstance(b, base.Strip) and b.together > 1]
    (size,) = {block.together for block in blocks}
    for part in ("plans", "facts", "runs"):
        (tmp_path / part).symlink_to(kept.folder / part)
    text = write_page(ResultStore(tmp_path), ["concealed"]).read_text(encoding="utf-8")
    groups = re.findall(r'<div class="group">(.*?)</div>', text, re.S)
    assert len(groups) == sum(len(block.pictures) // size for block in blocks)
    assert all(group.count("<figure>") == size and "the host sees this" in group for group in groups)
