"""Parts of benchmarks/fusion_quality.py."""
