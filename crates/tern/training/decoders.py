"""Which decoder a configuration describes."""

from experts import ExpertDecoder
from looped import LoopedDecoder
from model import Decoder, ModelConfig


def build(cfg: ModelConfig) -> Decoder:
    """The decoder that a configuration describes."""
    if cfg.num_experts:
        return ExpertDecoder(cfg)
    if cfg.loops > 1:
        return LoopedDecoder(cfg)
    return Decoder(cfg)


def parameter_count(cfg: ModelConfig) -> int:
    return sum(p.numel() for p in build(cfg).parameters())
