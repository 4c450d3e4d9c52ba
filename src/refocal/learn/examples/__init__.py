"""Training examples, drawn on the fly.

tiles        sharp tiles, degraded; what a source of examples has to have, and how a batch is drawn from it
labelled     stacks whose cells are known
unlabelled   tiles without truth, together with those that have one
triplets     sections with their neighbours, for folds
bursts       many frames of one field, simulated or recorded
measured     pairs of one field, recorded soft and sharp
"""
