"""Which GPUs this process may use, without importing torch."""

import os
import subprocess


def visible() -> list[str]:
    """Names for CUDA_VISIBLE_DEVICES, one a GPU: what a scheduler or a user allowed, else all that the driver lists."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [name for name in allowed.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [str(k) for k, line in enumerate(listed.splitlines()) if line.startswith("GPU ")]
