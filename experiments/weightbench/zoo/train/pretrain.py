"""Train the base model ``llama`` on the Python documentation and the WordNet glosses.

    python -m weightbench.zoo.train.pretrain --work WORK --out zoo/llama --curves zoo/curves --minutes 60

The learning rate follows a cosine over the budget, which is either wall-clock minutes (how the shipped model
was made: ``zoo/README.md`` says how many steps that was) or ``--steps`` (the same schedule on any machine).
"""

import argparse
import csv
import json
import math
import time
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from weightbench.zoo.train.corpus import DOMAINS
from weightbench.zoo.train.stream import CONTEXT, held_out, save, token_stream, train_step, windows

__all__ = ["main"]

SEED = 20
BATCH = 4
PEAK_RATE = 1.5e-3
FINAL_SHARE = 0.02
WARMUP_STEPS = 300
WEIGHT_DECAY = 0.1
TRAINED_ON = ("pydoc", "wordnet")
LOG_EVERY = 100
EVALUATE_EVERY = 500
SAVE_EVERY = 1000


def configuration(vocabulary: int, bos: int, eos: int) -> LlamaConfig:
    """A small Llama 3: grouped-query attention, SwiGLU, RoPE, RMSNorm, tied embeddings; 2.0 M parameters."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=3,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=bos,
        eos_token_id=eos,
        pad_token_id=None,
    )


def main() -> None:
    """Train, log to ``--curves``, save to ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--curves", type=Path, required=True, help="folder for the loss curves")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float)
    budget.add_argument("--steps", type=int)
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(arguments.work / "tokenizer")
    shape = configuration(len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)
    model = LlamaForCausalLM(shape).train()
    stream = token_stream(arguments.work, TRAINED_ON, tokenizer)
    print(f"{model.num_parameters()} parameters, {len(stream)} training tokens", flush=True)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": WEIGHT_DECAY},
            {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=PEAK_RATE,
        betas=(0.9, 0.95),
        fused=True,
    )
    slices = held_out(arguments.work, tuple(DOMAINS), tokenizer)
    batches = windows(stream, BATCH, SEED)

    arguments.curves.mkdir(parents=True, exist_ok=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (
        (arguments.curves / "llama.train.csv").open("w", newline="") as train_file,
        (arguments.curves / "llama.heldout.csv").open("w", newline="") as heldout_file,
    ):
        train_log = csv.writer(train_file, lineterminator="\n")
        heldout_log = csv.writer(heldout_file, lineterminator="\n")
        train_log.writerow(["step", "tokens", "seconds", "learning_rate", "loss_nats_per_token"])
        heldout_log.writerow(["step", "tokens", *(f"bits_per_byte_{piece.domain}" for piece in slices)])
        start, step, total, progress = time.monotonic(), 0, 0.0, 0.0
        while progress < 1.0:
            if arguments.minutes is not None:
                progress = min((time.monotonic() - start) / (60 * arguments.minutes), 1.0)
            else:
                progress = min((step + 1) / arguments.steps, 1.0)
            cosine = FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * progress))
            rate = PEAK_RATE * cosine * min(1.0, (step + 1) / WARMUP_STEPS)
            for group in optimizer.param_groups:
                group["lr"] = rate
            total += train_step(model, optimizer, next(batches))
            step += 1
            tokens = step * BATCH * CONTEXT
            if step % LOG_EVERY == 0:
                seconds = time.monotonic() - start
                loss = total / LOG_EVERY
                train_log.writerow([step, tokens, f"{seconds:.1f}", f"{rate:.3e}", f"{loss:.4f}"])
                train_file.flush()
                total = 0.0
            if step % EVALUATE_EVERY == 0 or progress >= 1.0:
                measured = [f"{piece.bits_per_byte(model):.4f}" for piece in slices]
                heldout_log.writerow([step, tokens, *measured])
                heldout_file.flush()
            if step % SAVE_EVERY == 0 or progress >= 1.0:
                save(model, arguments.work / "tokenizer", arguments.out)
        seconds = time.monotonic() - start
    summary = {
        "seed": SEED,
        "trained_on": list(TRAINED_ON),
        "parameters": model.num_parameters(),
        "steps": step,
        "batch": BATCH,
        "context": CONTEXT,
        "tokens_seen": step * BATCH * CONTEXT,
        "training_tokens": len(stream),
        "peak_learning_rate": PEAK_RATE,
        "minutes": round(seconds / 60, 1),
    }
    (arguments.curves / "llama.json").write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()
