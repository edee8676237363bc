"""Training images: photographs or procedural images, in batches; `prepare` downloads, checks and packs them."""
