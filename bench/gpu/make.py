"""Writes a model folder as Tidemark reads it: graph, weights beside it, tokenizer, manifest, texts.

    python make.py decoder-7b --dtype bfloat16 --out models/decoder-7b
"""

import argparse
import hashlib
import json
import random
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper

from shapes import EPSILON, ROPE_BASE, SHAPES, Shape, tensors_of
from weights import DTYPES, make_weight

MS = "com.microsoft"
CODES = {
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "float32": TensorProto.FLOAT,
}
DATA_FILE = "model.onnx_data"


class Graph:
    """Nodes and weights in the making; the weights go to the data file as they come."""

    def __init__(self, folder: Path, dtype: str):
        self.nodes, self.constants = [], []
        self.dtype = dtype
        self.data = open(folder / DATA_FILE, "wb")

    def node(self, op: str, inputs: list[str], outputs: str | list[str], domain: str = "", **attributes):
        outputs = [outputs] if isinstance(outputs, str) else outputs
        # The names of nodes are what profiles show.
        self.nodes.append(
            helper.make_node(op, inputs, outputs, name=outputs[0], domain=domain, **attributes)
        )
        return outputs[0]

    def external(self, name: str, tensor: torch.Tensor, code: int) -> None:
        # Page by page, so that the file can be mapped.
        self.data.write(b"\0" * (-self.data.tell() % 4096))
        offset = self.data.tell()
        raw = tensor.contiguous().view(torch.uint8).numpy().tobytes()
        self.data.write(raw)
        proto = TensorProto(name=name, data_type=code, dims=list(tensor.shape))
        proto.data_location = TensorProto.EXTERNAL
        for key, value in {"location": DATA_FILE, "offset": offset, "length": len(raw)}.items():
            proto.external_data.add(key=key, value=str(value))
        self.constants.append(proto)

    def ints(self, name: str, values: list[int], dims: list[int] | None = None) -> str:
        dims = [len(values)] if dims is None else dims
        self.constants.append(helper.make_tensor(name, TensorProto.INT64, dims, values))
        return name


def decoder(graph: Graph, shape: Shape) -> None:
    """Causal, with grouped queries and rotary positions; the last token is gathered in the graph."""
    code = CODES[graph.dtype]
    angles = torch.outer(
        torch.arange(shape.tokens_max, dtype=torch.float32),
        ROPE_BASE ** (-torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim),
    )
    graph.external("cos", angles.cos().to(DTYPES[graph.dtype]), code)
    graph.external("sin", angles.sin().to(DTYPES[graph.dtype]), code)
    graph.ints("one", [1])
    graph.node("ReduceSum", ["attention_mask", "one"], "length", keepdims=1)
    graph.node("Sub", ["length", "one"], "last")
    graph.node("Squeeze", ["last", "one"], "last_flat")
    graph.node("Cast", ["last_flat"], "seqlens_k", to=TensorProto.INT32)
    graph.node("Shape", ["input_ids"], "tokens", start=1, end=2)
    graph.node("Squeeze", ["tokens"], "tokens_scalar")
    graph.node("Cast", ["tokens_scalar"], "total", to=TensorProto.INT32)
    graph.node("Gather", ["embed", "input_ids"], "x")
    x = "x"
    delta = None
    for at in range(shape.layers):
        name = f"layer{at}"
        if delta is None:
            graph.node(
                "SimplifiedLayerNormalization", [x, f"{name}.norm1"], f"{name}.n1",
                axis=-1, epsilon=EPSILON, stash_type=1,
            )
        else:
            graph.node(
                "SkipSimplifiedLayerNormalization", [x, delta, f"{name}.norm1"],
                [f"{name}.n1", "", "", f"{name}.x1"], MS, epsilon=EPSILON,
            )
            x = f"{name}.x1"
        graph.node("MatMul", [f"{name}.n1", f"{name}.qkv"], f"{name}.mixed")
        graph.node(
            "GroupQueryAttention",
            [f"{name}.mixed", "", "", "", "", "seqlens_k", "total", "cos", "sin"],
            [f"{name}.attended", f"{name}.key", f"{name}.value"],
            MS, num_heads=shape.heads, kv_num_heads=shape.kv_heads, do_rotary=1,
        )
        graph.node("MatMul", [f"{name}.attended", f"{name}.out"], f"{name}.o")
        graph.node(
            "SkipSimplifiedLayerNormalization", [x, f"{name}.o", f"{name}.norm2"],
            [f"{name}.n2", "", "", f"{name}.x2"], MS, epsilon=EPSILON,
        )
        x = f"{name}.x2"
        graph.node("MatMul", [f"{name}.n2", f"{name}.gate"], f"{name}.g")
        graph.node("Sigmoid", [f"{name}.g"], f"{name}.s")
        graph.node("Mul", [f"{name}.g", f"{name}.s"], f"{name}.silu")
        graph.node("MatMul", [f"{name}.n2", f"{name}.up"], f"{name}.u")
        graph.node("Mul", [f"{name}.silu", f"{name}.u"], f"{name}.h")
        delta = graph.node("MatMul", [f"{name}.h", f"{name}.down"], f"{name}.d")
    # Of every text only the last token is wanted from here on.
    graph.node("GatherND", [x, "last"], "x_last", batch_dims=1)
    graph.node("GatherND", [delta, "last"], "delta_last", batch_dims=1)
    graph.node("Add", ["x_last", "delta_last"], "state")
    graph.node(
        "SimplifiedLayerNormalization", ["state", "norm"], "pooled",
        axis=-1, epsilon=EPSILON, stash_type=1,
    )
    graph.node("Cast", ["pooled"], "pooled32", to=TensorProto.FLOAT)


def encoder(graph: Graph, shape: Shape) -> None:
    """As BERT, with learnt positions; the mean of the tokens is taken in the graph."""
    graph.ints("one", [1])
    graph.ints("two", [2])
    graph.node("ReduceSum", ["attention_mask", "one"], "length", keepdims=0)
    graph.node("Cast", ["length"], "key_lengths", to=TensorProto.INT32)
    graph.node("Gather", ["embed", "input_ids"], "words")
    graph.node("Gather", ["position", "position_ids"], "positions")
    graph.node("Add", ["words", "positions"], "sum")
    x = graph.node(
        "LayerNormalization", ["sum", "embed_norm", "embed_norm_bias"], "x", axis=-1, epsilon=EPSILON
    )
    for at in range(shape.layers):
        name = f"layer{at}"
        graph.node(
            "Attention", [x, f"{name}.qkv", f"{name}.qkv_bias", "key_lengths"], f"{name}.attended",
            MS, num_heads=shape.heads,
        )
        graph.node("MatMul", [f"{name}.attended", f"{name}.out"], f"{name}.o")
        graph.node(
            "SkipLayerNormalization",
            [f"{name}.o", x, f"{name}.norm1", f"{name}.norm1_bias", f"{name}.out_bias"],
            f"{name}.n1", MS, epsilon=EPSILON,
        )
        graph.node("MatMul", [f"{name}.n1", f"{name}.up"], f"{name}.u")
        graph.node("BiasGelu", [f"{name}.u", f"{name}.up_bias"], f"{name}.h", MS)
        graph.node("MatMul", [f"{name}.h", f"{name}.down"], f"{name}.d")
        x = graph.node(
            "SkipLayerNormalization",
            [f"{name}.d", f"{name}.n1", f"{name}.norm2", f"{name}.norm2_bias", f"{name}.down_bias"],
            f"{name}.n2", MS, epsilon=EPSILON,
        )
    graph.node("Cast", [x], "states", to=TensorProto.FLOAT)
    graph.node("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
    graph.node("Unsqueeze", ["mask", "two"], "mask3")
    graph.node("Mul", ["states", "mask3"], "masked")
    # The length of the sum goes with the norm.
    graph.node("ReduceSum", ["masked", "one"], "pooled32", keepdims=0)


def write_model(name: str, dtype: str, folder: Path, count: int) -> None:
    shape = SHAPES[name]
    folder.mkdir(parents=True, exist_ok=True)
    graph = Graph(folder, dtype)
    for each, dims in tensors_of(shape).items():
        graph.external(each, make_weight(each, dims, DTYPES[dtype]), CODES[dtype])
    (decoder if shape.kind == "decoder" else encoder)(graph, shape)
    # Vectors leave the graph whole: of length 1, in float32.
    graph.node("ReduceL2", ["pooled32", "axis"], "norm2", keepdims=1)
    graph.node("Div", ["pooled32", "norm2"], "vector")
    graph.ints("axis", [-1])
    graph.data.close()
    inputs = ["input_ids", "attention_mask"] + (["position_ids"] if shape.kind == "encoder" else [])
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            name,
            [helper.make_tensor_value_info(each, TensorProto.INT64, ["rows", "tokens"]) for each in inputs],
            [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["rows", shape.dim])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(MS, 1)],
        ir_version=9,
    )
    onnx.save(proto, folder / "model.onnx")
    words = {f"w{at}": at for at in range(shape.vocab - 1)} | {"[UNK]": shape.vocab - 1}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": None, "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    write_manifest(name, dtype, shape, folder, inputs)
    write_texts(shape, folder, count)


def write_manifest(name: str, dtype: str, shape: Shape, folder: Path, inputs: list[str]) -> None:
    files = ["model.onnx", DATA_FILE, "tokenizer.json"]
    keys = {"input_ids": "ids", "attention_mask": "mask", "position_ids": "positions"}
    manifest = {
        "format": 1,
        "name": name,
        "description": f"Random weights in the shape of {name}, {dtype}: for measuring alone.",
        "licence": "Apache-2.0",
        "source": "made by bench/gpu/make.py",
        "graph": "model.onnx",
        "tokenizer": {"kind": "huggingface", "file": "tokenizer.json", "pad_id": 0},
        "max_tokens": 512,
        "pooling": "none",
        "normalise": False,
        "dim": shape.dim,
        "inputs": {keys[each]: each for each in inputs},
        "output": "vector",
        "sha256": {each: sha256(folder / each) for each in files},
    }
    (folder / "tidemark-model.json").write_text(json.dumps(manifest, indent=2) + "\n")


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_texts(shape: Shape, folder: Path, count: int) -> None:
    """Texts of 16 to 512 tokens, more short ones than long, and for the latencies of 512 alone."""
    pick = random.Random(7)
    word = lambda: f"w{pick.randrange(1, shape.vocab - 1)}"
    lengths = [min(512, int(16 / (1 - pick.random()) ** 0.8)) for _ in range(count)]
    texts = {
        "mixed": [" ".join(word() for _ in range(length)) for length in lengths],
        "long": [" ".join(word() for _ in range(512)) for _ in range(64)],
    }
    (folder / "texts.json").write_text(json.dumps(texts))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=SHAPES)
    parser.add_argument("--dtype", choices=DTYPES, default="float16")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--texts", type=int, default=512)
    args = parser.parse_args()
    write_model(args.name, args.dtype, args.out, args.texts)
