"""The same model in torch with its own attention: vectors to compare with, tokens/s, latencies.

    python baseline.py decoder-7b --dtype bfloat16 --model models/decoder-7b --device cuda --seconds 20
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy
import onnx
import torch
import torch.nn.functional as F

from shapes import EPSILON, ROPE_BASE, SHAPES, Shape
from weights import DTYPES


def read_weights(folder: Path, dtype: torch.dtype, device: str) -> dict[str, torch.Tensor]:
    """The bytes that the graph is given, not others like them."""
    graph = onnx.load(folder / "model.onnx", load_external_data=False).graph
    weights = {}
    for tensor in graph.initializer:
        place = {entry.key: entry.value for entry in tensor.external_data}
        if not place:
            continue
        raw = numpy.memmap(
            folder / place["location"], numpy.uint8, "c", int(place["offset"]), int(place["length"])
        )
        weights[tensor.name] = torch.from_numpy(raw).view(dtype).view(*tensor.dims).to(device)
    return weights


class Model:
    def __init__(self, shape: Shape, folder: Path, dtype: torch.dtype, device: str):
        self.shape = shape
        self.w = read_weights(folder, dtype, device)
        angles = torch.outer(
            torch.arange(shape.tokens_max, dtype=torch.float32),
            ROPE_BASE ** (-torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim),
        )
        self.cos = angles.cos().to(device, dtype)
        self.sin = angles.sin().to(device, dtype)

    @torch.inference_mode()
    def __call__(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        pooled = (self.decode if self.shape.kind == "decoder" else self.encode)(ids, lengths)
        return F.normalize(pooled.float(), dim=-1)

    def heads(self, mixed: torch.Tensor) -> tuple[torch.Tensor, ...]:
        shape = self.shape
        rows, tokens, _ = mixed.shape
        mixed = mixed.view(rows, tokens, -1, shape.head_dim).transpose(1, 2)
        return mixed.split([shape.heads, shape.kv_heads, shape.kv_heads], dim=1)

    def turn(self, x: torch.Tensor) -> torch.Tensor:
        a, b = x.chunk(2, dim=-1)
        cos, sin = self.cos[: x.shape[2]], self.sin[: x.shape[2]]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)

    def decode(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        w, shape = self.w, self.shape
        norm = lambda x, name: F.rms_norm(x, (shape.dim,), w[name], EPSILON)
        x = w["embed"][ids]
        for at in range(shape.layers):
            name = f"layer{at}"
            q, k, v = self.heads(norm(x, f"{name}.norm1") @ w[f"{name}.qkv"])
            # Padding is on the right, where no token that counts looks.
            attended = F.scaled_dot_product_attention(
                self.turn(q), self.turn(k), v, is_causal=True, enable_gqa=shape.heads != shape.kv_heads
            )
            x = x + attended.transpose(1, 2).flatten(2) @ w[f"{name}.out"]
            n = norm(x, f"{name}.norm2")
            x = x + (F.silu(n @ w[f"{name}.gate"]) * (n @ w[f"{name}.up"])) @ w[f"{name}.down"]
        last = x[torch.arange(len(ids), device=ids.device), lengths - 1]
        return norm(last, "norm")

    def encode(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        w, shape = self.w, self.shape
        norm = lambda x, name: F.layer_norm(x, (shape.dim,), w[name], w[f"{name}_bias"], EPSILON)
        tokens = torch.arange(ids.shape[1], device=ids.device)
        mask = tokens[None, :] < lengths[:, None]
        x = norm(w["embed"][ids] + w["position"][tokens], "embed_norm")
        for at in range(shape.layers):
            name = f"layer{at}"
            q, k, v = self.heads(x @ w[f"{name}.qkv"] + w[f"{name}.qkv_bias"])
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
            attended = attended.transpose(1, 2).flatten(2) @ w[f"{name}.out"] + w[f"{name}.out_bias"]
            x = norm(x + attended, f"{name}.norm1")
            up = F.gelu(x @ w[f"{name}.up"] + w[f"{name}.up_bias"])
            x = norm(x + up @ w[f"{name}.down"] + w[f"{name}.down_bias"], f"{name}.norm2")
        return (x.float() * mask[:, :, None]).sum(1)


def batches_of(texts: list[list[int]], padded_tokens_max: int) -> list[list[int]]:
    """Indices of texts that run together, of like length: at most so many tokens with padding."""
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]), reverse=True)
    batches: list[list[int]] = []
    for at in order:
        longest = len(texts[batches[-1][0]]) if batches else 0
        if not batches or longest * (len(batches[-1]) + 1) > padded_tokens_max:
            batches.append([])
        batches[-1].append(at)
    return batches


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=SHAPES)
    parser.add_argument("--dtype", choices=DTYPES, default="float16")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--seconds", type=float, default=20)
    args = parser.parse_args()
    model = Model(SHAPES[args.name], args.model, DTYPES[args.dtype], args.device)
    # The names of the words are their ids.
    texts = {
        kind: [[int(word[1:]) for word in text.split()] for text in all]
        for kind, all in json.loads((args.model / "texts.json").read_text()).items()
    }

    def run(rows: list[list[int]]) -> torch.Tensor:
        lengths = torch.tensor([len(row) for row in rows])
        ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = torch.tensor(row)
        # To the host and back, as a server has to.
        return model(ids.to(args.device), lengths.to(args.device)).cpu()

    mixed = texts["mixed"]
    batches = batches_of(mixed, args.batch_tokens)
    vectors = torch.zeros(len(mixed), SHAPES[args.name].dim)
    for batch in batches:
        vectors[batch] = run([mixed[at] for at in batch])
    numpy.asarray(vectors, dtype="<f4").tofile(args.model / "torch.f32")
    tokens = sum(len(text) for text in mixed)
    rates = []
    end = time.perf_counter() + args.seconds
    while not rates or time.perf_counter() < end:
        start = time.perf_counter()
        for batch in batches:
            run([mixed[at] for at in batch])
        rates.append(tokens / (time.perf_counter() - start))
    result = {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "dtype": args.dtype,
        "batch_tokens": args.batch_tokens,
        "tokens": tokens,
        "tokens_per_second": statistics.median(rates),
        "rounds": len(rates),
        "latency_ms": {
            str(count): latencies(run, texts["long"], count, args.seconds) for count in (1, 16)
        },
    }
    (args.model / "torch.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def latencies(run, texts: list[list[int]], count: int, seconds: float) -> dict[str, float]:
    """Of `count` texts of 512 tokens that come at once, in one batch."""
    times = []
    end = time.perf_counter() + seconds
    at = 0
    while len(times) < 20 or time.perf_counter() < end:
        rows = [texts[(at + i) % len(texts)] for i in range(count)]
        at += count
        start = time.perf_counter()
        run(rows)
        times.append(1e3 * (time.perf_counter() - start))
        if len(times) >= 20 and time.perf_counter() > end:
            break
    times.sort()
    share = lambda part: times[min(len(times) - 1, int(len(times) * part))]
    return {"p50": share(0.5), "p95": share(0.95), "p99": share(0.99), "runs": len(times)}


if __name__ == "__main__":
    main()
