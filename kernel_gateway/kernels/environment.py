"""What a kernel is started with: its environment and its arguments, decided and not yet done.

Knows settings and requests. Must not know processes; reads no global but what it is given.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernel_gateway.kernels.kernel import LaunchRequest
    from kernel_gateway.kernels.settings import KernelSettings

#: What a terminal's programs go by. A kernel has none, so what is said of ours would be wrong: its
#: commands would colour their output and start pagers that wait for a key.
_TERMINAL = {"TERM", "COLORTERM", "COLUMNS", "LINES", "PAGER", "GIT_PAGER", "MANPAGER"}
_ARTIFACT_DIR = "KERNEL_GATEWAY_ARTIFACT_DIR"
#: Variables that are read by something when it is imported, or before: by the interpreter, the
#: dynamic linker, the C library, what counts processors, what looks for devices and for folders.
#: No secret (HF_TOKEN, TF_VAR_*, TF_TOKEN_*, NVIDIA_API_KEY): those are read when they are needed,
#: and a process that is kept for the next kernel is not to have that of the last.
READ_AT_IMPORT = (
    *("PYTHON*", "LD_*", "GLIBC_TUNABLES", "MALLOC_*", "LANG", "LANGUAGE", "LC_*", "LOCPATH"),
    *("OPENSSL_*", "SETUPTOOLS_*"),
    *("HOME", "USER", "LOGNAME", "VIRTUAL_ENV", "CONDA_*", "XDG_*_HOME", "XDG_*_DIRS"),
    *("OMP_*", "GOMP_*", "KMP_*", "MKL_*", "OPENBLAS_*", "GOTO_NUM_THREADS", "BLIS_*", "TBB_*"),
    *("NUMEXPR_*", "NUMBA_*", "VECLIB_*", "NPY_*", "MPL*", "CUDA_*", "CUDNN_*", "NCCL_*"),
    *("NVIDIA_[!A]*", "ROCR_*", "HIP_*", "HSA_*", "ZE_*", "JAX_*", "XLA_*", "TF_[!TV]*"),
    *("TORCH_*", "PYTORCH_*", "TRITON_*", "KERAS_*", "HF_[!T]*", "HF_TOKEN_PATH", "ARROW_*"),
    *("TRANSFORMERS_*", "POLARS_*", "DASK_*", "TQDM_*", "PYDEV*", "DEBUGPY_*", "GEVENT_SUPPORT*"),
    *("PYZMQ_*", "TORNADO_*", "PSUTIL_*", "COVERAGE_*", "IPYTHON_SUPPRESS_CONFIG_ERRORS"),
    *("TRAITLETS_*", "JUPYTER_ALLOW_INSECURE_WRITES", "JUPYTER_PLATFORM_DIRS"),
)
_IPYKERNEL = {"ipykernel", "ipykernel_launcher"}
_HISTORY = "--HistoryManager.enabled"
#: Programs of kernels whose ZeroMQ is not libzmq and knows tcp alone: Deno's, and the one of Java.
_TCP_ONLY = {"deno", "java", "run_kotlin_kernel"}


def kernel_environment(
    own: Mapping[str, str], requested: Mapping[str, str], settings: KernelSettings
) -> dict[str, str]:
    """The gateway's own variables without its secrets and its terminal, then those of the request.

    The provisioner adds the kernelspec's, and fills its `${NAME}` from what is here: no secret.
    """
    inherited = {name: value for name, value in own.items() if _passes(name, settings)}
    return {**inherited, **requested}


def requested_environment(
    own: Mapping[str, str], request: LaunchRequest, settings: KernelSettings
) -> dict[str, str]:
    """What a kernel for this request is given by us; its kernelspec adds to it."""
    told = {_ARTIFACT_DIR: str(request.artifact_dir)} if request.artifact_dir else {}
    return kernel_environment(own, {**request.env, **told}, settings)


def _passes(name: str, settings: KernelSettings) -> bool:
    if name in _TERMINAL or matches(name, settings.env_secrets):
        return False
    return matches(name, settings.env_passlist)


def read_at_import(env: Mapping[str, str], more: Sequence[str] = ()) -> tuple[tuple[str, str], ...]:
    """Those of `READ_AT_IMPORT`, and of more patterns of the shell: a process that has imported
    modules can no longer be given others. By name."""
    patterns = (*READ_AT_IMPORT, *more)
    return tuple((name, env[name]) for name in sorted(env) if matches(name, patterns))


def matches(name: str, patterns: Sequence[str]) -> bool:
    return _matches(name, tuple(patterns))


@functools.lru_cache(4096)  # of all variables that there are, each is asked about at each start
def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return _any_of(patterns).match(name) is not None


@functools.cache
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns) or r"(?!)")


def kernel_argv(argv: Sequence[str], settings: KernelSettings) -> list[str]:
    """History off for ipykernel, unless the kernelspec or the settings want it."""
    if settings.history or not is_ipykernel(argv) or _says_itself(argv):
        return list(argv)
    return [*argv, f"{_HISTORY}=False"]


def speaks_ipc(argv: Sequence[str], metadata: Mapping[str, object]) -> bool:
    """As far as is known; a kernelspec may say `"transport": "tcp"` in its metadata."""
    if "transport" in metadata:
        return metadata["transport"] == "ipc"
    return not any(PurePath(argument).stem in _TCP_ONLY for argument in argv)


def is_ipykernel(argv: Sequence[str]) -> bool:
    return any(PurePath(argument).stem in _IPYKERNEL for argument in argv)


def _says_itself(argv: Sequence[str]) -> bool:
    return any(argument.startswith(_HISTORY) for argument in argv)
