"""Every form of every operation in half precision, against the untouched module run dense in float64.

Scores lose a few units in the last place. Gradients lose more where rounding takes a value over the bound of a clip:
then that pixel has a gradient in one of the two and none in the other.
"""

import pytest
import torch
from test_operations import CASES

from helpers_engine import PLACES, SIZE, host_of, random_framed
from reprogram import Framed
from reprogram.engine.prepared import Prepared

TOLERANCES = {torch.bfloat16: (0.008, 0.25), torch.float16: (0.001, 0.06)}
"""Of scores and gradients, relative, of all numbers together."""


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_forms_of_operations(name: str, dtype: torch.dtype) -> None:
    run, layers = CASES[name]
    exact, net = (host_of(run, **{key: make() for key, make in layers.items()}).net for _ in range(2))
    prepared = Prepared(net.float(), dtype)
    for index, box in enumerate(PLACES):
        framed = random_framed(3, SIZE, box, batch=1 + 2 * (index % 2))
        half = [pixels.detach().to(dtype).requires_grad_() for pixels in (framed.frame, framed.window)]
        double = [pixels.detach().double().requires_grad_() for pixels in half]
        scores = prepared(Framed(frame=half[0], window=half[1], box=box))
        wanted = exact(Framed(frame=double[0], window=double[1], box=box).dense())
        factors = torch.randn(wanted.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        found = [scores.detach()]
        expected = [wanted.detach()]
        for results, output, inputs in ((found, scores, half), (expected, wanted, double)):
            total = (output.double() * factors).sum()
            results.extend(torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True))
        assert scores.dtype == dtype
        for result, value, tolerance in zip(
            found, expected, (TOLERANCES[dtype][0], *[TOLERANCES[dtype][1]] * 2), strict=True
        ):
            assert (result.double() - value).norm() <= tolerance * value.norm() + 1e-6, (box, tolerance)
