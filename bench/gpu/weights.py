"""Random weights: the same numbers wherever and in whatever order they are asked for."""

import zlib

import torch

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def make_weight(name: str, dims: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """On the CPU, so that the card that runs it has no part in it."""
    leaf = name.split(".")[-1]
    if leaf.startswith(("norm", "embed_norm")) and not leaf.endswith("bias"):
        return torch.ones(dims, dtype=dtype)
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    # As initialised before training: what comes out of a layer is as large as what went in.
    scale = 0.02 if len(dims) == 1 or leaf in ("embed", "position") else dims[0] ** -0.5
    return (torch.randn(dims, generator=generator) * scale).to(dtype)
