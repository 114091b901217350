"""The `senet` command.

`verbs/` has the options of each verb, at most 25 lines a verb; beside it is what a verb does and prints,
imported when the verb runs. `app.py` is what verbs share, `entry.py` the way in.
"""

# Each import adds its verbs to the command, in the order of `senet --help`.
from senet.cli.verbs import models  # isort: skip  # noqa: F401
from senet.cli.verbs import predict  # isort: skip  # noqa: F401
from senet.cli.verbs import export  # isort: skip  # noqa: F401
from senet.cli.verbs import train  # isort: skip  # noqa: F401
from senet.cli.verbs import throughput  # isort: skip  # noqa: F401
from senet.cli.verbs import evaluate  # isort: skip  # noqa: F401
from senet.cli.verbs import explain  # isort: skip  # noqa: F401
from senet.cli.verbs import data  # isort: skip  # noqa: F401
from senet.cli.verbs import runs  # isort: skip  # noqa: F401
from senet.cli.verbs import doctor  # isort: skip  # noqa: F401
from senet.cli.entry import main as main  # isort: skip
