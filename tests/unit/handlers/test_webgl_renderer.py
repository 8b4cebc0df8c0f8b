"""What counts as a GPU: by names that Chromium gave, on this and on other machines."""

from __future__ import annotations

import pytest

from handlers.webgl.renderer import is_software


@pytest.mark.parametrize(
    ("renderer", "expected"),
    [
        (
            "ANGLE (Google, Vulkan 1.3.0 (SwiftShader Device (Subzero) (0x0000C0DE)), SwiftShader driver)",
            True,
        ),
        ("ANGLE (Mesa/X.org, llvmpipe (LLVM 15.0.6 256 bits), OpenGL ES 3.2)", True),
        ("ANGLE (Mesa, Vulkan 1.3.230 (llvmpipe (LLVM 15.0.6, 256 bits) (0x00000000)), llvmpipe)", True),
        ("ANGLE (Mesa, softpipe, OpenGL 3.3)", True),
        ("virgl (LLVMPIPE (LLVM 15.0.6, 256 bits))", True),
        ("ANGLE (Microsoft, Microsoft Basic Render Driver Direct3D11 vs_5_0 ps_5_0, D3D11)", True),
        ("Apple Software Renderer", True),
        ("ANGLE (NVIDIA Corporation, NVIDIA L4/PCIe/SSE2, OpenGL ES 3.2)", False),
        ("ANGLE (AMD, AMD Radeon Pro W7900 (radeonsi, navi31, LLVM 15.0.6), OpenGL ES 3.2)", False),
        ("ANGLE (Intel, Mesa Intel(R) UHD Graphics 770 (ADL-S GT1), OpenGL ES 3.2)", False),
        ("", None),
        (None, None),
    ],
)
def test_a_processor_is_never_called_a_gpu(renderer: str | None, expected: bool | None) -> None:
    """And what gives no name is neither."""
    assert is_software(renderer) is expected
