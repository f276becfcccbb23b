"""What several test files build: tiny tasks, nets and models, and an exact picture of a module's state."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

import reprogram

ROOT = Path(__file__).resolve().parents[1]
"""Of the repository."""

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


def random_task(shape=(3, 8, 8), num_classes=4, n=(40, 12, 16), seed=0, separable=True):
    """Images whose brightness tells the class (where they are separable), in three splits."""
    generator = np.random.default_rng(seed)
    splits = []
    for size in n:
        labels = np.arange(size) % num_classes
        noise = generator.integers(0, 256, (size, *shape))
        level = labels.reshape(-1, 1, 1, 1) * (255 / (num_classes - 1))
        images = (0.3 * noise + 0.7 * level) if separable else noise
        splits.append(
            reprogram.Split(images=torch.from_numpy(images.astype(np.uint8)), labels=torch.from_numpy(labels).long())
        )
    names = tuple(f"class {i}" for i in range(num_classes))
    return reprogram.Task(name="random", train=splits[0], validation=splits[1], test=splits[2], class_names=names)


class ConvNet(nn.Module):
    """Two convolutions with BatchNorm, pooling, dropout and a linear layer."""

    def __init__(self, num_classes=6, channels=3, width=8):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.5),
        )
        self.head = nn.Linear(4 * width, num_classes)

    def forward(self, x):
        return self.head(self.body(x))


def seeded(build, seed=0):
    """Build with random weights from a seed; the process's random state is restored."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def randomize_batchnorm(net, seed=0):
    """Give every BatchNorm statistics and parameters that are anything but the identity."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                if module.running_mean is not None:
                    module.running_mean.normal_(0, 0.3, generator=generator)
                    module.running_var.uniform_(0.5, 2.0, generator=generator)
                if module.affine:
                    module.weight.uniform_(0.5, 1.5, generator=generator)
                    module.bias.normal_(0, 0.3, generator=generator)
    return net


def tiny_model(task=None, *, program="frame", label_map="first", canvas="centre", size=16, seed=0, **kwargs):
    """A model on a tiny conv net that needs no package."""
    task = task or random_task()
    host = reprogram.Host.wrap(seeded(lambda: ConvNet(num_classes=24)), size=size, name="tiny", **kwargs)
    return reprogram.Reprogrammed.build(host, task, canvas=canvas, program=program, label_map=label_map, seed=seed)


def narrow_vgg():
    """torchvision's vgg11_bn with narrow last layers; its own have half a gigabyte of weights."""
    from torchvision.models import vgg11_bn

    net = vgg11_bn(init_weights=False)
    net.classifier[0], net.classifier[3], net.classifier[6] = (
        nn.Linear(25088, 64),
        nn.Linear(64, 64),
        nn.Linear(64, 1000),
    )
    return net.eval()


def snapshot(module):
    """Everything that `fit` might disturb in a module: values, identities, grads, flags, hooks."""
    return {
        "parameters": {
            name: (id(p), p.data_ptr(), p.requires_grad, p._version, p.detach().clone())
            for name, p in module.named_parameters()
        },
        "grads": {
            name: None if p.grad is None else (id(p.grad), p.grad.clone()) for name, p in module.named_parameters()
        },
        "buffers": {name: (id(b), b.data_ptr(), b._version, b.clone()) for name, b in module.named_buffers()},
        "training": {name: m.training for name, m in module.named_modules()},
        "hooks": {
            (name, kind): list(getattr(m, kind).items())
            for name, m in module.named_modules()
            for kind in HOOKS
            if hasattr(m, kind)
        },
        "attributes": {name: sorted(vars(m)) for name, m in module.named_modules()},
        "forward": {name: vars(m).get("forward") for name, m in module.named_modules()},
    }


def assert_same(before, after):
    """Two snapshots agree bit for bit."""
    assert before.keys() == after.keys()
    for part in before:
        assert before[part].keys() == after[part].keys(), part
        for key, value in before[part].items():
            assert _equal(value, after[part][key]), (part, key)


def _equal(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def tiny_clip(folder, *, siglip=False):
    """A folder of open_clip with random weights: towers of one layer, the real tokenizer of CLIP. Gives the model."""
    import open_clip
    from safetensors.torch import save_file

    towers = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    towers |= {"init_logit_bias": -10.0, "custom_text": True} if siglip else {}
    config = {"model_cfg": towers, "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.4, 0.5, 0.6]}}
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    kind = open_clip.CustomTextCLIP if siglip else open_clip.CLIP
    model = seeded(lambda: kind(**{key: value for key, value in towers.items() if key != "custom_text"})).eval()
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return model


def tiny_hf(folder, *, num_labels=5):
    """A folder of transformers with a ResNet of random weights. Gives the model."""
    import transformers

    names = {i: f"thing {i}" for i in range(num_labels)}
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", id2label=names
    )
    model = seeded(lambda: transformers.ResNetForImageClassification(config)).eval()
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    processor = {
        "do_center_crop": True,
        "size": {"shortest_edge": 40},
        "crop_size": {"height": 32, "width": 32},
        "resample": 3,
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.4, 0.5, 0.6],
        "image_processor_type": "ViTImageProcessor",
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return model


def tiny_onnx(path, *, shape=("batch", 3, 8, 8), uint8=False, last=False, softmax=False, extra=None, texts=None):
    """An ONNX file that answers with pooled linear scores; returns the weights W (channels x 5), for an oracle."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    channels = shape[3] if last else shape[1]
    weights = np.random.default_rng(0).normal(size=(channels, 5)).astype(np.float32)
    kind = TensorProto.UINT8 if uint8 else TensorProto.FLOAT
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "weights"], ["logits" if softmax else "answers"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["answers"], axis=1))
    inputs = [helper.make_tensor_value_info("pixels", kind, shape)]
    if extra:
        inputs.append(helper.make_tensor_value_info(extra, TensorProto.FLOAT, [1]))
    axes = np.array([1, 2] if last else [2, 3], dtype=np.int64)
    graph = helper.make_graph(
        nodes,
        "tiny",
        inputs,
        [helper.make_tensor_value_info("answers", TensorProto.FLOAT, [shape[0], 5])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(axes, "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, texts or {})
    onnx.save(model, path)
    return weights


def normalised(pixels):
    """As the hosts of `tiny_clip` and `tiny_hf` normalise them."""
    mean, std = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)
    return (pixels - mean) / std


def fitted(label_map, scores, labels):
    """Give a map these scores in three batches, and fit it."""
    for batch in np.array_split(np.arange(len(labels)), 3):
        label_map.update(torch.from_numpy(scores[batch]), torch.from_numpy(labels[batch]))
    label_map.fit_from_statistics()
    label_map.validate()
    return label_map
