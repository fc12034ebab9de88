"""The program. What it runs at its end is, in each kernel, what a cold start runs at its beginning.

No name of ours is left in `__main__` by then, so that the last line may use none but the builtin.
"""

import sys

if not sys.flags.safe_path:
    # Our own folder: kernels do not import from it, nor do we.
    sys.path_importer_cache.pop(sys.path.pop(0), None)

from kernel_gateway.fork_server.life import live

exec(live(sys.argv[1:]))
