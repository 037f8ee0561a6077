"""Code that keeps a process from importing torch, as where it is not installed."""

BLOCK_TORCH = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("torch is not installed")
sys.meta_path.insert(0, Block())
"""
