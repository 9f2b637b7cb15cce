"""The models that are measured: their shapes alone, the weights are random."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    kind: str  # "decoder": causal, last token; "encoder": mean of all tokens
    layers: int
    dim: int
    heads: int
    kv_heads: int
    ffn: int
    vocab: int
    tokens_max: int

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads


SHAPES = {
    # The shape of Mistral 7B, which E5-Mistral and others embed with.
    "decoder-7b": Shape("decoder", 32, 4096, 32, 8, 14336, 32000, 1024),
    # The shape of all-MiniLM-L6-v2.
    "minilm": Shape("encoder", 6, 384, 12, 12, 1536, 30522, 512),
    # For a dry run on any machine.
    "decoder-tiny": Shape("decoder", 2, 64, 4, 2, 128, 512, 1024),
    "encoder-tiny": Shape("encoder", 2, 64, 4, 4, 128, 512, 512),
}


def tensors_of(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Every weight by name, as rows that are multiplied from the left: x @ w."""
    dim, hd = shape.dim, shape.head_dim
    found: dict[str, tuple[int, ...]] = {"embed": (shape.vocab, dim)}
    if shape.kind == "encoder":
        found |= {"position": (shape.tokens_max, dim), "embed_norm": (dim,), "embed_norm_bias": (dim,)}
    for at in range(shape.layers):
        name = f"layer{at}"
        found |= {
            f"{name}.qkv": (dim, (shape.heads + 2 * shape.kv_heads) * hd),
            f"{name}.out": (shape.heads * hd, dim),
            f"{name}.norm1": (dim,),
            f"{name}.norm2": (dim,),
            f"{name}.down": (shape.ffn, dim),
        }
        if shape.kind == "decoder":
            found |= {f"{name}.gate": (dim, shape.ffn), f"{name}.up": (dim, shape.ffn)}
        else:
            found |= {
                f"{name}.up": (dim, shape.ffn),
                f"{name}.qkv_bias": ((shape.heads + 2 * shape.kv_heads) * hd,),
                f"{name}.out_bias": (dim,),
                f"{name}.norm1_bias": (dim,),
                f"{name}.norm2_bias": (dim,),
                f"{name}.up_bias": (shape.ffn,),
                f"{name}.down_bias": (dim,),
            }
    if shape.kind == "decoder":
        found["norm"] = (dim,)
    return found


ROPE_BASE = 10_000.0
EPSILON = 1e-5
