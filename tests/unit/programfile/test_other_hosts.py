"""A program file and a host that isn't the one that it was learned on."""

import pytest
import torch

import reprogram
from helpers_components import small_model


def other_weights():
    model = small_model()
    with torch.no_grad():
        model.host.net.weight[0, 0] += 1e-6
    return model.host


HOSTS = {
    "other weights": other_weights,
    "other preprocessing": lambda: reprogram.Host.wrap(
        small_model().host.net, size=6, channels=1, mean=(0.1,), std=(1.0,), name="net"
    ),
}


@pytest.mark.parametrize("name", HOSTS)
def test_another_host_is_refused_and_any_host_warns(good, tmp_path, name, one_line):
    path = tmp_path / "p.safetensors"
    path.write_bytes(good)
    with pytest.raises(reprogram.HostMismatchError) as error:
        reprogram.load(path, host=HOSTS[name]())
    one_line(error, "p.safetensors", "any-host")
    with pytest.warns(UserWarning, match="results will differ"):
        loaded = reprogram.load(path, host=HOSTS[name](), any_host=True)
    assert loaded(torch.zeros(2, 1, 4, 4)).shape == (2, 2)


@pytest.mark.parametrize("size,channels,classes", [(7, 1, 3), (6, 3, 3), (6, 1, 4)])
def test_a_host_of_another_shape_is_refused_even_as_any_host(good, tmp_path, size, channels, classes, one_line):
    path = tmp_path / "p.safetensors"
    path.write_bytes(good)
    host = reprogram.Host.wrap(lambda x: x.flatten(1)[:, :classes], size=size, channels=channels, name="other")
    with pytest.raises(reprogram.HostMismatchError) as error:
        reprogram.load(path, host=host, any_host=True)
    one_line(error, "net")


def test_a_file_that_names_an_unknown_host_asks_for_one(good, tmp_path, one_line):
    path = tmp_path / "p.safetensors"
    path.write_bytes(good)
    with pytest.raises(reprogram.ReprogramError) as error:
        reprogram.load(path)
    one_line(error, "net")
