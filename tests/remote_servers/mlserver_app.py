"""MLServer with the ONNX model, as tensors and as files: `mlserver_app.py MODEL PORT GRPC_PORT METRICS_PORT`."""

import asyncio
import io
import sys

import numpy as np
import onnxruntime
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import Base64Codec, NumpyCodec
from mlserver.settings import ModelParameters
from mlserver.types import InferenceResponse, MetadataTensor
from PIL import Image


class Pixels(MLModel):
    """The model as it is: FP32 tensors."""

    async def load(self):
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri, providers=["CPUExecutionProvider"])
        return True

    def read(self, tensor):
        return NumpyCodec.decode_input(tensor)

    async def predict(self, payload):
        (scores,) = self.session.run(None, {"pixels": self.read(payload.inputs[0])})
        output = NumpyCodec.encode_output("scores", scores)
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[output])


class Files(Pixels):
    """Image files as base64."""

    def read(self, tensor):
        pixels = np.stack([np.array(Image.open(io.BytesIO(file))) for file in Base64Codec.decode_input(tensor)])
        return (pixels.transpose(0, 3, 1, 2) / 255).astype(np.float32)


def settings(name, implementation, path, **tensor):
    return ModelSettings(
        name=name,
        implementation=implementation,
        parameters=ModelParameters(uri=path, version="v1"),
        inputs=[MetadataTensor(name=name, **tensor)],
        outputs=[MetadataTensor(name="scores", datatype="FP32", shape=[-1, 10])],
    )


async def main(path, ports):
    http, grpc, metrics = ports
    server = MLServer(
        Settings(
            host="127.0.0.1",
            http_port=http,
            grpc_port=grpc,
            metrics_port=metrics,
            parallel_workers=0,
            load_models_at_startup=False,
        )
    )
    await server.start(
        [
            settings("pixels", Pixels, path, datatype="FP32", shape=[-1, 3, 48, 48]),
            settings("files", Files, path, datatype="BYTES", shape=[-1]),
        ]
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], [int(port) for port in sys.argv[2:5]]))
