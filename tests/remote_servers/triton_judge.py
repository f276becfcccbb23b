"""Triton's own client writes the same requests and reads the same answers; a JSON document on stdin says which."""

import json
import sys

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput


def split(body, length):
    """The JSON of a request, and the bytes behind it."""
    return (json.loads(body[:length]), body[length:]) if length else (json.loads(body), b"")


def files_in(behind):
    """The elements of a binary BYTES tensor."""
    found = []
    while behind:
        size = int.from_bytes(behind[:4], "little")
        found.append(behind[4 : 4 + size])
        behind = behind[4 + size :]
    return found


def main():
    document = json.load(sys.stdin)
    images, scores = np.array(document["images"], np.uint8), np.array(document["scores"])
    for case in document["cases"]:
        ours = bytes.fromhex(case["body"])
        head, behind = split(ours, int(case["length"]) if case["length"] else None)
        binary, datatype = case["format"] != "json", case["datatype"]
        if datatype == "BYTES":
            values = np.array(files_in(behind), dtype=np.object_)
        else:
            pixels = images.transpose(0, 3, 1, 2)
            values = pixels if datatype == "UINT8" else (pixels / 255).astype(np.float32)
        tensor = InferInput("pixels", list(values.shape), datatype)
        tensor.set_data_from_numpy(np.ascontiguousarray(values), binary_data=binary)
        wanted = InferRequestedOutput("scores", binary_data=binary)
        theirs, length = InferenceServerClient.generate_request_body([tensor], outputs=[wanted])
        their_head, their_behind = split(theirs, length)
        (our_tensor,), (their_tensor,) = head["inputs"], their_head["inputs"]
        if not binary:
            assert np.array_equal(our_tensor.pop("data"), np.array(their_tensor.pop("data")).reshape(-1).tolist())
            their_head["outputs"][0].pop("parameters", None)  # "binary_data": false, the protocol's default.
        assert our_tensor == their_tensor and behind == their_behind, (our_tensor, their_tensor)
        assert head["outputs"] == their_head["outputs"], (head["outputs"], their_head["outputs"])
        client = InferenceServerClient(document["url"].removeprefix("http://"))
        answer = client.infer("m", [tensor], outputs=[wanted]).as_numpy("scores")
        assert np.abs(answer - scores).max() < 1e-3
        print(f"triton {case['format']} {datatype}: the same request, {len(ours)} bytes", flush=True)


if __name__ == "__main__":
    main()
