"""KServe's own server with the ONNX model, as tensors and as files: `kserve_app.py MODEL PORT ...`."""

import base64
import io
import sys

import numpy as np
import onnxruntime
from kserve import InferOutput, InferResponse, Model, ModelServer
from PIL import Image


class Pixels(Model):
    """The model as it is: FP32 tensors."""

    def __init__(self, name, path):
        super().__init__(name)
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.ready = True

    def get_input_types(self):
        return [{"name": "pixels", "datatype": "FP32", "shape": [-1, 3, 48, 48]}]

    def get_output_types(self):
        return [{"name": "scores", "datatype": "FP32", "shape": [-1, 10]}]

    def read(self, tensor):
        return tensor.as_numpy()

    def predict(self, payload, headers=None, response_headers=None):
        (scores,) = self.session.run(None, {"pixels": self.read(payload.inputs[0])})
        output = InferOutput(name="scores", shape=list(scores.shape), datatype="FP32")
        output.set_data_from_numpy(scores, binary_data=True)
        return InferResponse(
            response_id=payload.id or "none",
            model_name=self.name,
            infer_outputs=[output],
            requested_outputs=payload.request_outputs,
        )


class Files(Pixels):
    """Image files as elements of type BYTES; base64 where they came as JSON."""

    def get_input_types(self):
        return [{"name": "files", "datatype": "BYTES", "shape": [-1]}]

    def read(self, tensor):
        files = [value.encode() if isinstance(value, str) else bytes(value) for value in tensor.as_numpy().reshape(-1)]
        files = [file if file[:4] == b"\x89PNG" else base64.b64decode(file) for file in files]
        pixels = np.stack([np.array(Image.open(io.BytesIO(file))) for file in files])
        return (pixels.transpose(0, 3, 1, 2) / 255).astype(np.float32)


if __name__ == "__main__":
    model, port = sys.argv[1], int(sys.argv[2])
    ModelServer(http_port=port, enable_grpc=False, workers=1).start([Pixels("pixels", model), Files("files", model)])
