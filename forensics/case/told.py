"""How people are told of a container `c`, as SQL: for the summary and the listings."""

from __future__ import annotations

_STATE = "coalesce(c.state, 'not known') || iif(c.state IN ('exited', 'dead'), ' (' || coalesce(c.exit_code, '?') || ')', '')"
SANDBOX = "coalesce(json_extract(c.labels, '$.\"io.cri-containerd.kind\"') = 'sandbox', 0)"
"""Whether it holds a pod's namespaces, and is none of the pod's own containers."""

STATE = f"""iif({SANDBOX}, 'pod sandbox, ', '') || iif(c.origin = 'allocated', {_STATE},
    'removed' || iif(c.state IS NULL OR c.state IN ('removing', 'dead'), '', '; last known ' || {_STATE}))"""
"""Its state, with the exit code of one that ended; of a removed one, what was last known of it."""
