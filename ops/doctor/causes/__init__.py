"""Everything that can be wrong, its probable cause, and the remedy.

In the names of this deployment: `template.yaml`'s parameters, make's targets, the log's events.
"""

from collections.abc import Mapping

from ops.doctor.causes.cause import Cause
from ops.doctor.causes.hearing import HEARING
from ops.doctor.causes.reaching import REACHING
from ops.doctor.causes.serving import SERVING

CAUSES: Mapping[str, Cause] = {**REACHING, **SERVING, **HEARING}
