"""How the zoo was made: corpus, tokenizer, base model, fine-tunes, tasks, and the coarsening curve.

Nothing here is imported by the harness; each module is a command. ``zoo/README.md`` gives them in order.
"""
