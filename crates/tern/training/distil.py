"""Distils a LLaMA-style chat model (meant: SmolLM2-135M-Instruct) into a ternary student with two sub-norms.

    python distil.py --teacher FOLDER|FILE.gguf --corpus DIR --run RUN [--generate 20000] [--minutes 30] [--export OUT]
    python distil.py --toy --run RUN --steps 4        # random tiny teacher, our own questions: checks the code

The steps are those of BitDistill (arXiv 2510.13998): the student is the teacher with an RMSNorm before `o_proj` and
`down_proj` and all projections ternary by straight-through estimators; the loss is cross entropy plus the KL divergence
of the teacher's and the student's softened distributions. Left out is BitDistill's third term, the relations between
attention states of one layer. The same command runs on a GPU (bf16) and on a CPU.

Invariant: embedding, norms and SwiGLU stay the teacher's, so the student is a `BitNetForCausalLM` with `hidden_act`
"silu"; a width that is no multiple of 256 (SmolLM2: 576) rules out the TQ forms of GGUF, not the packed folder.
"""

import argparse
import json
import random
import time
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

import export
import facts
import mixture
import prepare
import dialogues
import stories
from model import Decoder, ModelConfig
from train import atomic_save, learning_rate

HERE = Path(__file__).parent


def load_teacher(where: Path | None, device: str):
    """(model, tokenizer); without a path a random tiny LLaMA with Tern's tokenizer."""
    if where is None:
        tok = AutoTokenizer.from_pretrained(HERE.parent / "tern")
        config = LlamaConfig(vocab_size=len(tok), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
                             num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
                             tie_word_embeddings=True)
        return LlamaForCausalLM(config).eval().to(device), tok
    folder, file = (where, {}) if where.is_dir() else (where.parent, {"gguf_file": where.name})
    tok = AutoTokenizer.from_pretrained(folder, **file)
    kind = torch.bfloat16 if device == "cuda" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=kind, **file).eval().to(device)
    if model.config.model_type != "llama" or not model.config.tie_word_embeddings:
        raise SystemExit("the teacher must be a LLaMA with tied embeddings")
    return model, tok


def rope_theta(config) -> float:
    """transformers 5 keeps it among the rope parameters."""
    return float((getattr(config, "rope_parameters", None) or {}).get("rope_theta") or getattr(config, "rope_theta", 10000.0))


def student_of(teacher, context: int) -> Decoder:
    """The teacher's weights in the ternary network; the sub-norms start as the identity on average.

    A sub-norm divides by the RMS of its input. Its gain starts at the RMS that the teacher has there on a few tokens, so
    that what enters `o_proj` and `down_proj` keeps its size.
    """
    c = teacher.config
    mc = ModelConfig(vocab_size=c.vocab_size, hidden_size=c.hidden_size, intermediate_size=c.intermediate_size,
                     num_hidden_layers=c.num_hidden_layers, num_attention_heads=c.num_attention_heads,
                     num_key_value_heads=c.num_key_value_heads, max_position_embeddings=context,
                     rms_norm_eps=c.rms_norm_eps, rope_theta=rope_theta(c), hidden_act="silu")
    net = Decoder(mc)
    state = {k: v.float() for k, v in teacher.state_dict().items() if k != "lm_head.weight"}
    missing, unexpected = net.load_state_dict(state, strict=False)
    if unexpected or any("sub_norm" not in name for name in missing):
        raise SystemExit(f"not a plain LLaMA: unknown {unexpected[:3]}, missing {missing[:3]}")
    rms = {}

    def listen(name):
        return lambda module, inputs: rms.__setitem__(name, float(inputs[0].float().pow(2).mean().sqrt()))

    hooks = [m.register_forward_pre_hook(listen(n)) for n, m in teacher.named_modules() if n.endswith(("o_proj", "down_proj"))]
    with torch.no_grad():
        teacher(torch.arange(2, 66, device=teacher.device)[None])
    for hook in hooks:
        hook.remove()
    for i, layer in enumerate(net.model.layers):
        layer.self_attn.attn_sub_norm.weight.data.fill_(rms[f"model.layers.{i}.self_attn.o_proj"])
        layer.mlp.ffn_sub_norm.weight.data.fill_(rms[f"model.layers.{i}.mlp.down_proj"])
    return net


def documents(corpus: Path | None, rng: random.Random) -> list[dict]:
    """The recipe's own mixture; without a corpus only what the generators make."""
    if corpus:
        return mixture.build(corpus, rng, 1.0, 1.0, prepare.held_out, prepare.PROMPTS)[0]
    draws = [lambda: facts.question(rng), lambda: dialogues.exchange(rng), lambda: stories.request(rng)]
    return [mixture.as_document(rng, "toy", [rng.choice(draws)()]) for _ in range(200)]


def render(tok, doc: dict) -> list[int]:
    """Token ids of a document in the teacher's own chat format; plain text is closed with its end token."""
    if doc["kind"] == "plain":
        return [*tok(doc["text"], add_special_tokens=False).input_ids, tok.eos_token_id]
    turns = [{"role": role, "content": text} for role, text in doc["turns"]]
    return tok.apply_chat_template(turns, tokenize=True, return_dict=False)


@torch.no_grad()
def generate(teacher, tok, questions: list[str], limit: int, batch: int = 64):
    """What the teacher itself answers: text the student can follow, in the teacher's voice."""
    tok.padding_side = "left"
    if tok.pad_token_id is None:
        tok.pad_token = tok.eos_token
    for at in range(0, len(questions), batch):
        asked = questions[at:at + batch]
        prompts = [tok.apply_chat_template([{"role": "user", "content": q}], add_generation_prompt=True, tokenize=False) for q in asked]
        x = tok(prompts, return_tensors="pt", padding=True, add_special_tokens=False).to(teacher.device)
        x.pop("token_type_ids", None)
        y = teacher.generate(**x, max_new_tokens=limit, do_sample=True, temperature=0.7, top_p=0.9, pad_token_id=tok.pad_token_id)
        for q, ids in zip(asked, y[:, x["input_ids"].shape[1]:]):
            text = tok.decode(ids, skip_special_tokens=True).strip()
            if text:
                yield {"part": "teacher", "kind": "chat", "turns": [["user", q], ["assistant", text]]}


def batches(encoded: list[list[int]], rng: random.Random, batch: int, context: int):
    """Endless [batch, context + 1] of documents end to end: at this size no window is worth padding."""
    stream: list[int] = []
    while True:
        rows = []
        for _ in range(batch):
            while len(stream) < context + 1:
                stream += rng.choice(encoded)
            rows.append(stream[:context + 1])
            stream = stream[context + 1:]
        yield torch.tensor(rows)


def distillation_loss(student, teacher, targets, temperature: float, weight: float):
    """Cross entropy + weight * KL(teacher || student) at `temperature`; logits [tokens, vocabulary]."""
    ce = F.cross_entropy(student.float(), targets)
    kl = F.kl_div((student.float() / temperature).log_softmax(-1), (teacher.float() / temperature).log_softmax(-1),
                  log_target=True, reduction="batchmean")
    # The gradient of the softened term shrinks with the square of the temperature.
    return ce + weight * temperature**2 * kl, ce.detach(), kl.detach()


def export_student(net: Decoder, tok, folder: Path):
    """A packed Hugging Face folder with the teacher's tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    config = export.hf_config(net.cfg, "offline") | {
        "bos_token_id": tok.bos_token_id, "eos_token_id": tok.eos_token_id, "pad_token_id": tok.pad_token_id,
        "general.license": "Apache-2.0"}  # the teacher's
    state = {k: v.contiguous().cpu() for k, v in export.packed_state(net.state_dict()).items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    tok.save_pretrained(folder)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--config", type=Path, default=HERE / "configs/distil.json")
    source = ap.add_mutually_exclusive_group(required=True)
    source.add_argument("--teacher", type=Path)
    source.add_argument("--toy", action="store_true")
    ap.add_argument("--corpus", type=Path)
    ap.add_argument("--run", type=Path, required=True)
    ap.add_argument("--generate", type=int, default=0, help="answers the teacher writes first (kept in RUN/teacher.jsonl)")
    ap.add_argument("--minutes", type=float)
    ap.add_argument("--steps", type=int)
    ap.add_argument("--export", type=Path)
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a = ap.parse_args()
    cfg = json.loads(a.config.read_text())
    if a.toy:
        cfg |= {"context": 64, "batch": 2, "warmup_steps": 1}
    steps, rng = a.steps or cfg["steps"], random.Random(cfg["seed"])
    a.run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(cfg["seed"])
    teacher, tok = load_teacher(a.teacher, a.device)
    docs = documents(a.corpus, rng)
    spoken = a.run / "teacher.jsonl"
    if a.generate and not spoken.exists():
        questions = [text for d in docs if d["kind"] == "chat" for role, text in d["turns"] if role == "user"]
        with spoken.open("w") as out:
            for doc in generate(teacher, tok, rng.sample(questions, min(a.generate, len(questions))), 16 if a.toy else 300):
                out.write(json.dumps(doc) + "\n")
    if spoken.exists():
        docs += [json.loads(line) for line in spoken.open()]
    data = batches([render(tok, d) for d in docs], rng, cfg["batch"], cfg["context"])
    net = student_of(teacher, cfg["context"]).to(a.device)
    decay = [p for n, p in net.named_parameters() if "proj" in n]
    other = [p for n, p in net.named_parameters() if "proj" not in n]
    opt = torch.optim.AdamW([{"params": decay}, {"params": other}], lr=1e-4, betas=(0.9, 0.95))
    fn = torch.compile(net) if a.device == "cuda" else net
    start, log = time.time(), (a.run / "loss.csv").open("a", buffering=1)
    for step in range(steps):
        clock = (time.time() - start) / (60 * a.minutes) if a.minutes else 0.0
        progress = max(clock, step / steps)
        if progress >= 1.0:
            break
        lr, wd = learning_rate(cfg, progress, step)
        opt.param_groups[0].update(lr=lr, weight_decay=wd)
        opt.param_groups[1].update(lr=lr, weight_decay=0.0)
        ids = next(data).to(a.device)
        x, y = ids[:, :-1], ids[:, 1:].flatten()
        amp = torch.autocast(a.device, dtype=torch.bfloat16) if a.device == "cuda" else nullcontext()
        with torch.no_grad(), amp:
            wanted = teacher(x).logits.flatten(0, 1)
        with amp:
            given = net.logits(fn(x)).flatten(0, 1)
        loss, ce, kl = distillation_loss(given, wanted, y, cfg["temperature"], cfg["kl"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        if step % (1 if a.toy else 20) == 0:
            log.write(f"{int(time.time())},{step},{step * x.numel()},{progress:.4f},{lr:.6f},{float(ce):.4f},{float(kl):.5f}\n")
        if step % 500 == 499 or step == steps - 1:
            atomic_save({"model": net.state_dict(), "step": step + 1, "config": {"model": vars(net.cfg)}}, a.run / "last.pt")
    print(f"done: {step + 1} steps, cross entropy {float(ce):.3f}, KL {float(kl):.4f}")
    if a.export:
        export_student(net, tok, a.export)


if __name__ == "__main__":
    main()
