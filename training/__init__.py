"""Trains the demo model: a small latent diffusion model on captioned emoji art.

One command goes from nothing to the weights in `models/`: `python -m training all`.
See docs/demo-model/ for what it makes and models/diffusers/demo/README.md for the model card.
"""
