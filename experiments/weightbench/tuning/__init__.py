"""How far can a lossy codec go before a model suffers? Bisection over cells; see docs/tuning.md.

``python -m weightbench.tuning codec=elf,zfp model=llama tune.budget=0.01``
"""
