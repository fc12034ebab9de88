"""`commands/main.py`: what is the same for every command."""

from __future__ import annotations

import pytest

from kernel_gateway.commands.main import KernelGatewayApp, main


def test_ctrl_c_before_a_command_is_ready_for_it_is_an_end_like_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(self: KernelGatewayApp, argv: list[str] | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(KernelGatewayApp, "initialize", interrupted)
    try:
        with pytest.raises(SystemExit) as ended:
            main(["ls"])
    finally:
        KernelGatewayApp.clear_instance()
    assert 130 == ended.value.code
