"""Write the small model that servers serve: `onnx_model.py FILE SIZE LABELS`; it is `helpers_server.logits`."""

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def main(path, size, labels):
    """Means of the four quarters of 3 channels, minus one half, times fixed weights."""
    weights = np.random.default_rng(0).normal(size=(12, labels)) * 20  # Rows: 4 quarters x 3 channels.
    # The pooled tensor is channels x rows x columns; the quarters are numbered down the first column first.
    ordered = weights.reshape(2, 2, 3, labels).transpose(2, 1, 0, 3).reshape(12, labels)
    nodes = [
        helper.make_node("AveragePool", ["pixels"], ["means"], kernel_shape=[size // 2] * 2, strides=[size // 2] * 2),
        helper.make_node("Flatten", ["means"], ["features"]),
        helper.make_node("Gemm", ["features", "weights", "bias"], ["scores"]),
    ]
    constants = {"weights": ordered, "bias": -0.5 * ordered.sum(0)}
    graph = helper.make_graph(
        nodes,
        "pixels",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["b", 3, size, size])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["b", labels])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
