"""The hooks that the function registered for SnapStart: before a snapshot, after a restore.

AWS's package `snapshot_restore_py` keeps them. Hooks before a snapshot are called last to first,
those after a restore first to last, as under AWS's own runtime.
"""


def before_snapshot() -> None:
    """Call the function's hooks before a snapshot is taken."""
    _run_hooks("get_before_snapshot", backwards=True)


def after_restore() -> None:
    """Call the function's hooks in an environment that was restored from a snapshot."""
    _run_hooks("get_after_restore")


def _run_hooks(registry: str, *, backwards: bool = False) -> None:
    try:
        import snapshot_restore_py
    except ImportError:
        return
    hooks = list(getattr(snapshot_restore_py, registry)())
    for function, args, kwargs in reversed(hooks) if backwards else hooks:
        function(*args, **kwargs)
