"""The harness: models, granularities, archives, measuring, verifying, evaluating, rows and figures."""
