"""Where models come from: one module a family (`timm:`, `hf:` ...) or packaged model (`mobilenet-v2` ...)."""
