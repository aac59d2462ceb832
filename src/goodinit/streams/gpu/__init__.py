"""The GPU kernel in Triton: the same bits as spec.py, without a copy from the CPU.

``kernels`` defines it, ``fill`` passes it a tensor. Triton comes with torch's CUDA builds; without
it, or if the kernel draws other bits, values are drawn on the CPU and copied.
"""

from goodinit.streams.gpu.fill import fill_box, fill_whole

__all__ = ["fill_box", "fill_whole"]
