//! The harness: what the test stage finds in PYTHONPATH and beside it.

/// Files of Python by their names, each after those that it imports: the plugin that reports from inside pytest, and what comes before it.
pub const FILES: [(&str, &str); 29] = [
    ("sitecustomize.py", include_str!("../harness/sitecustomize.py")),
    ("ostest_start.py", include_str!("../harness/ostest_start.py")),
    ("ostest_apart.py", include_str!("../harness/ostest_apart.py")),
    ("ostest_stand.py", include_str!("../harness/ostest_stand.py")),
    ("ostest_trust.py", include_str!("../harness/ostest_trust.py")),
    ("ostest_fds.py", include_str!("../harness/ostest_fds.py")),
    ("ostest_notes.py", include_str!("../harness/ostest_notes.py")),
    ("ostest_imported.py", include_str!("../harness/ostest_imported.py")),
    ("ostest_made.py", include_str!("../harness/ostest_made.py")),
    ("ostest_tools.py", include_str!("../harness/ostest_tools.py")),
    ("ostest_guard.py", include_str!("../harness/ostest_guard.py")),
    ("ostest_config.py", include_str!("../harness/ostest_config.py")),
    ("ostest_hidden.py", include_str!("../harness/ostest_hidden.py")),
    ("ostest_tracing.py", include_str!("../harness/ostest_tracing.py")),
    ("ostest_call.py", include_str!("../harness/ostest_call.py")),
    ("ostest_quick.py", include_str!("../harness/ostest_quick.py")),
    ("ostest_spawn.py", include_str!("../harness/ostest_spawn.py")),
    ("ostest_leaves.py", include_str!("../harness/ostest_leaves.py")),
    ("ostest_gate.py", include_str!("../harness/ostest_gate.py")),
    ("ostest_multi.py", include_str!("../harness/ostest_multi.py")),
    ("ostest_deadline.py", include_str!("../harness/ostest_deadline.py")),
    ("ostest_called.py", include_str!("../harness/ostest_called.py")),
    ("ostest_held.py", include_str!("../harness/ostest_held.py")),
    ("ostest_told.py", include_str!("../harness/ostest_told.py")),
    ("ostest_report.py", include_str!("../harness/ostest_report.py")),
    ("ostest_diff.py", include_str!("../harness/ostest_diff.py")),
    ("ostest_temporary.py", include_str!("../harness/ostest_temporary.py")),
    ("ostest_fixtures.py", include_str!("../harness/ostest_fixtures.py")),
    ("ostest_harness.py", include_str!("../harness/ostest_harness.py")),
];

/// The shared object by which the harness starts the gate ([`sandbox::spawn`]).
pub const SPAWN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/spawn.so"));
