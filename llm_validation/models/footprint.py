"""What a fine-tune needs of a GPU, counted from a model's shape: bytes and operations.

The model is a decoder of the Llama family (RMSNorm, rotary positions, grouped queries, a gated
feed-forward block). Nothing is measured; tests hold the counts to what PyTorch keeps and does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from finebound.base.errors import InputError

Trained = Literal["full", "adapter"]
Stored = Literal["fp32", "bf16", "nf4"]
BYTES: dict[Stored, float] = {"fp32": 4.0, "bf16": 2.0, "nf4": 0.5 + (1 + 4 / 256) / 64}
"""Per weight. NF4 has a scale of one byte per block of 64, and a float32 per 256 scales."""
WAYS: dict[str, tuple[Trained, Stored]] = {
    "full": ("full", "fp32"),
    "LoRA": ("adapter", "fp32"),
    "LoRA, base in bfloat16": ("adapter", "bf16"),
    "QLoRA": ("adapter", "nf4"),
}
"""Ways to train, by name. finebound keeps a LoRA's base in float32; others keep it in bfloat16."""
_MOMENTS = 8.0  # AdamW: two numbers in float32 per trained weight


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder; ``head`` is the size of one attention head."""

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    key_value_heads: int
    head: int
    vocabulary: int
    tied: bool = False

    @classmethod
    def of(cls, config: Any) -> Shape:
        """The shape in a configuration of transformers. Raises InputError for another family."""
        try:
            if getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None):
                raise AttributeError("it has experts")
            return cls(
                layers=config.num_hidden_layers,
                hidden=config.hidden_size,
                feed_forward=config.intermediate_size,
                heads=config.num_attention_heads,
                key_value_heads=config.num_key_value_heads,
                head=getattr(config, "head_dim", None)
                or config.hidden_size // config.num_attention_heads,
                vocabulary=config.vocab_size,
                tied=bool(config.tie_word_embeddings),
            )
        except AttributeError as error:
            raise InputError(
                f"the memory of this architecture is not counted: {error}.",
                remedy="Counted are decoders of the Llama family, such as Llama, Mistral and Qwen.",
            ) from None

    @property
    def modules(self) -> tuple[tuple[int, int], ...]:
        """Inputs and outputs of a layer's linear modules: q, k, v, o, gate, up, down."""
        d, f = self.hidden, self.feed_forward
        q, kv = self.heads * self.head, self.key_value_heads * self.head
        return (d, q), (d, kv), (d, kv), (q, d), (d, f), (d, f), (f, d)

    @property
    def linear(self) -> int:
        """Weights of the linear modules of all layers."""
        return self.layers * sum(a * b for a, b in self.modules)

    @property
    def other(self) -> int:
        """Weights of embeddings, output layer and norms."""
        tables = 1 if self.tied else 2
        return tables * self.vocabulary * self.hidden + (2 * self.layers + 1) * self.hidden

    def adapter(self, rank: int) -> int:
        """Weights of a LoRA on every linear module."""
        return self.layers * rank * sum(a + b for a, b in self.modules)


@dataclass(frozen=True)
class Footprint:
    """Bytes by what they are for, and floating-point operations of one optimiser step."""

    weights: float
    gradients: float
    optimiser: float
    casts: float
    """Copies of weights in bfloat16 that autocast keeps until the backward pass."""
    activations: float
    logits: float
    operations: float

    @property
    def states(self) -> float:
        """Bytes that can be sharded over GPUs."""
        return self.weights + self.gradients + self.optimiser

    @property
    def total(self) -> float:
        """Bytes on one GPU, as if the peaks of all parts came together: never too low for them.

        Not in it: the CUDA context (about 0.5 GB), fragmentation, and buffers within a kernel.
        """
        return self.states + self.casts + self.activations + self.logits

    def gpus(self, each: float) -> int | None:
        """The fewest GPUs of ``each`` bytes, with the states in equal shards; None for no number.

        Every GPU has a micro-batch of its own. Of several, each gathers one layer at a time and
        keeps no casts.
        """
        if self.total <= each:
            return 1
        room = each - self.activations - self.logits
        return max(2, int(-(-self.states // room))) if room > 0 else None


def footprint(
    shape: Shape,
    *,
    trained: Trained,
    rows: int,
    length: int,
    supervised: int | None = None,
    base: Stored = "fp32",
    rank: int = 16,
    compute: Literal["fp32", "bf16"] = "bf16",
    checkpointing: bool = False,
) -> Footprint:
    """What one step on ``rows`` rows of ``length`` tokens needs.

    ``supervised`` of these tokens have a loss (None: all). ``adapter`` trains a LoRA of ``rank`` on
    every linear module, in float32, over a frozen ``base``; only its linear modules are rounded to
    NF4, the rest is float32. ``compute`` "bf16" is autocast. With P weights, T trained ones, b
    bytes per stored weight, n tokens, m supervised ones, L layers, hidden size d, feed-forward
    size f, query size q, key size k, vocabulary V, c bytes per computed number and rank r:

    - weights b P, and 4 T for an adapter; gradients 4 T; AdamW 8 T;
    - casts 2 bytes per linear weight that is stored in float32 and computed in bfloat16; with
      checkpointing one layer's of an adapter's base, whose copies are made anew;
    - activations of a layer, per token: 4 d times 4 (2 for an adapter: norms are frozen),
      c ((h + g) d + (1 + a) q + 2 k + 4 f), with h = g = a = 1; in bfloat16 h = 3 and g = 2, for
      every linear module reads a copy of its own, and a = 2 for an adapter; 7 r c for an adapter;
      over NF4 three of the 4 f are in float32, in which its modules answer; 4 per head and norm.
      With checkpointing 4 d per token and layer, and one whole layer;
    - logits 8 m V: log-probabilities and their gradient, in float32;
    - operations: forward 2 n (weights of linear modules) + 4 L q n length (attention, not halved
      for causality) + 2 m V d. Backward twice that; an adapter's base once. Checkpointing does the
      layers' forward once more.

    Raises InputError for what cannot be: all weights of a rounded base, no tokens.
    """
    n = rows * length
    m = n if supervised is None else supervised
    if trained == "full" and base != "fp32":
        raise InputError(
            f"all weights are trained, and they are stored in {base}.",
            remedy="Store them in fp32, or train an adapter.",
        )
    if min(n, rank) < 1 or not 0 <= m <= n:
        raise InputError(
            f"a step has {rows} rows of {length} tokens, {m} of them supervised, and rank {rank}.",
            remedy="Give at least one row, token and rank, and no more supervised tokens than all.",
        )
    d, q = shape.hidden, shape.heads * shape.head
    adapter = shape.adapter(rank) if trained == "adapter" else 0
    number = adapter or shape.linear + shape.other
    head = shape.vocabulary * d
    is_cast = compute == "bf16"
    read = adapter + (shape.linear + head if base == "fp32" else head if base == "nf4" else 0)
    if adapter and checkpointing and base == "fp32":
        read -= shape.linear - shape.linear // shape.layers
    layer = _activations(shape, base, rank if adapter else 0, is_cast) * n
    last = n * (4 * d * (2 if trained == "full" else 1) + 4)
    last += 0 if adapter else m * d * (2 if is_cast else 4)
    kept = shape.layers * n * d * 4 + layer if checkpointing else shape.layers * layer
    forward = 2 * n * (shape.linear + adapter) + 4 * shape.layers * q * n * length
    backward = 2 * forward - (2 * n * shape.linear if adapter else 0)
    output = 2 * m * head * (2 if adapter else 3)
    return Footprint(
        weights=shape.linear * BYTES[base]
        + shape.other * BYTES["bf16" if base == "bf16" else "fp32"]
        + 4 * adapter,
        gradients=4.0 * number,
        optimiser=_MOMENTS * number,
        casts=2.0 * read if is_cast else 0.0,
        activations=kept + last,
        logits=8.0 * m * shape.vocabulary,
        operations=float(forward * (2 if checkpointing else 1) + backward + output),
    )


def _activations(shape: Shape, base: Stored, rank: int, is_cast: bool) -> float:
    """Bytes per token that a layer keeps for the backward pass; rank 0 trains all weights."""
    d, q = shape.hidden, shape.heads * shape.head
    kv, f = shape.key_value_heads * shape.head, shape.feed_forward
    width, copies, attended = (2, 5, 2 if rank else 1) if is_cast else (4, 2, 1)
    norms = 4 * d * (2 if rank else 4)
    inner = copies * d + (1 + attended) * q + 2 * kv + f + 7 * rank
    gated = 3 * f * (4 if base == "nf4" else width)
    return norms + width * inner + gated + 4 * (shape.heads + 2)
