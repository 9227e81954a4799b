//! `policy groups`: what the operator can allow a laboratory, and what that gives up.

use crate::cli::out;
use sandbox::confine::policy::Described;
use sandbox::groups::Group;
use serde_json::{Value, json};

/// Each group: its name and what it is for, its calls, and its risk.
pub fn all(as_json: bool) -> anyhow::Result<()> {
    let described = |group: Group| Ok((group, Described::of(group)?));
    let groups = Group::ALL.map(described).into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    if as_json {
        let shown: Vec<Value> = groups
            .iter()
            .map(|(group, is)| json!({"group": group.name(), "about": is.about, "calls": is.calls, "risk": is.risk}))
            .collect();
        return out::json(serde_json::to_string_pretty(&shown)?);
    }
    for (group, is) in &groups {
        out::line(format_args!(
            "{group}\n    {}\n    calls: {}\n    risk: {}\n",
            is.about,
            is.calls.join(", "),
            is.risk
        ))?;
    }
    out::line(
        "They are allowed by the operator, in the file of --config: `[lab.N] allow = [\"GROUP\"]`, or below `[test]`.",
    )?;
    Ok(())
}
