"""KServe's own client asks `reprogram serve`; a JSON document on stdin says what, and what the answers have to be."""

import asyncio
import base64
import json
import sys

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput


async def check(document):
    url, model = document["url"], document["model"]
    images = np.array(document["images"], np.uint8)
    scores = np.array(document["scores"])
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=3, timeout=60))
    assert await client.is_server_live(url) and await client.is_server_ready(url)
    assert await client.is_model_ready(url, model)
    for datatype, values in (("UINT8", images), ("FP32", (images / 255).astype(np.float32))):
        for binary in (True, False):
            tensor = InferInput(name="image", shape=list(images.shape), datatype=datatype)
            tensor.set_data_from_numpy(values, binary_data=binary)
            wishes = [RequestedOutput("logits", parameters={"binary_data": binary}), RequestedOutput("labels")]
            request = InferRequest(
                model_name=model, infer_inputs=[tensor], request_id="one", request_outputs=wishes if binary else None
            )
            answer = await client.infer(url, request, model_name=model)
            outputs = {output.name: output.as_numpy() for output in answer.outputs}
            assert answer.id == "one" and answer.model_name == model
            np.testing.assert_allclose(outputs["logits"], scores, rtol=1e-4, atol=1e-4)
            texts = [text.decode() if isinstance(text, bytes) else str(text) for text in outputs["labels"].reshape(-1)]
            assert texts == document["labels"], texts
            print(
                f"kserve's client: {datatype}, {'binary' if binary else 'JSON'}: {len(images)} images agree", flush=True
            )
    files = [base64.b64decode(text) for text in document["files"]]
    tensor = InferInput(name="image", shape=[len(files)], datatype="BYTES")
    tensor.set_data_from_numpy(np.array(files, dtype=np.object_), binary_data=True)
    answer = await client.infer(url, InferRequest(model_name=model, infer_inputs=[tensor]), model_name=model)
    np.testing.assert_allclose(
        next(o for o in answer.outputs if o.name == "logits").as_numpy(), scores, rtol=1e-4, atol=1e-4
    )
    print(f"kserve's client: BYTES: {len(files)} files agree", flush=True)
    await client.close()


asyncio.run(check(json.load(sys.stdin)))
