//! Tables and verdicts as a person reads them.

use crate::task::Graded;
use crate::text::{visible, visible_line};
use crate::units::show_bytes;
use crate::verdict::{Case, Status, Verdict, remarks_on};
use std::fmt::Write;

/// Pads the columns of a table to their widest cell. Colour codes do not count, so colours come after; what a cell holds that a
/// terminal would obey is shown instead.
pub fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let on_one_line = |cell: &String| visible(cell).replace(['\n', '\t'], " ");
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(on_one_line).collect()).collect();
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| {
                let padding = " ".repeat(width - cell.chars().count());
                format!("{cell}{padding}")
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
        })
        .collect()
}

/// A word for how a test ended.
pub fn word(status: Status) -> &'static str {
    match status {
        Status::Passed => "passed",
        Status::Failed => "FAILED",
        Status::Error => "ERROR",
        Status::Skipped => "skipped",
        Status::SkipAllowed => "skip ok",
        Status::Stopped => "STOPPED",
        Status::NotRun => "not run",
    }
}

fn colour(status: Status) -> &'static str {
    match status {
        Status::Passed => "\x1b[32m",
        Status::Skipped | Status::SkipAllowed | Status::NotRun => "\x1b[33m",
        Status::Failed | Status::Error | Status::Stopped => "\x1b[31m",
    }
}

/// A graded submission: a line per test, then what failed and why, then the sum. Only what is ours begins at the margin, so that nothing
/// that a program prints can pass for a line of it.
pub fn show(graded: &Graded, coloured: bool) -> String {
    let verdict = &graded.verdict;
    let mut text = String::new();
    let rows: Vec<Vec<String>> = verdict.cases.iter().map(row).collect();
    for (line, case) in columns(&rows).into_iter().zip(&verdict.cases) {
        let (on, off) = if coloured { (colour(case.status), "\x1b[0m") } else { ("", "") };
        let _ = writeln!(text, "{on}{line}{off}");
    }
    for case in verdict.cases.iter().filter(|c| !c.description.is_empty() && c.status != Status::Passed) {
        let _ = write!(text, "\n--- {} ({})\n", visible_line(&case.name), word(case.status));
        visible(case.description.trim_end()).lines().for_each(|line| indented(&mut text, line));
    }
    for (case, remarks) in remarks(verdict) {
        let _ = writeln!(text, "\n--- {} ({})", visible_line(&case.name), word(case.status));
        remarks.iter().for_each(|remark| indented(&mut text, &format!("sandbox: {}", visible_line(remark))));
    }
    let details = visible(&verdict.details());
    if let Some(first) = details.lines().next() {
        let _ = writeln!(text, "\n{first}");
        details.lines().skip(1).for_each(|line| indented(&mut text, line));
    }
    let _ = writeln!(text, "\n{}", sum(verdict));
    text
}

fn indented(text: &mut String, line: &str) {
    let _ = writeln!(text, "{}", format_args!("    {line}").to_string().trim_end());
}

/// What is to be said of tests that have no description in which it could stand.
fn remarks(verdict: &Verdict) -> impl Iterator<Item = (&Case, Vec<String>)> {
    let quiet = verdict.cases.iter().filter(|case| matches!(case.status, Status::Passed | Status::Skipped));
    let told = quiet.map(|case| (case, case.measured.as_ref().map(remarks_on).unwrap_or_default()));
    told.filter(|(_, remarks)| !remarks.is_empty())
}

fn row(case: &Case) -> Vec<String> {
    let ran = !matches!(case.status, Status::NotRun);
    let seconds = if ran { format!("{:.3} s", case.duration.as_secs_f64()) } else { String::new() };
    let memory = if ran { show_bytes(case.memory) } else { String::new() };
    vec![word(case.status).to_string(), case.name.clone(), seconds, memory]
}

/// One line on a verdict.
pub fn sum(verdict: &Verdict) -> String {
    let count = |status: Status| verdict.cases.iter().filter(|c| c.status == status).count();
    use Status::*;
    let all = [Passed, Failed, Error, Skipped, SkipAllowed, Stopped, NotRun];
    let parts: Vec<String> =
        all.into_iter().filter(|s| count(*s) > 0).map(|s| format!("{} {}", count(s), word(s).to_lowercase())).collect();
    let head = match (verdict.is_passed(), &verdict.error) {
        (true, _) => "PASSED",
        (_, Some(_)) => "COULD NOT BE GRADED IN FULL",
        _ => "NOT PASSED",
    };
    let tests = if parts.is_empty() { "no test ran".into() } else { parts.join(", ") };
    format!("{head}: {tests} in {:.1} s", verdict.duration.as_secs_f64())
}

/// A page of its own, for a browser: the same as [`show`].
pub fn html(graded: &Graded, title: &str) -> String {
    let verdict = &graded.verdict;
    let mut rows = String::new();
    for case in &verdict.cases {
        let _ = writeln!(
            rows,
            "<tr class=\"{}\"><td>{}</td><td>{}</td><td>{:.3} s</td><td>{}</td><td><pre>{}</pre></td></tr>",
            word(case.status).to_lowercase().replace(' ', "-"),
            word(case.status),
            escape(&case.name),
            case.duration.as_secs_f64(),
            show_bytes(case.memory),
            escape(&case.description),
        );
    }
    let mut told = String::new();
    for (case, remarks) in remarks(verdict) {
        for remark in remarks {
            let _ = writeln!(told, "<p>{}: {}</p>", escape(&case.name), escape(&remark));
        }
    }
    let error = match &*verdict.details() {
        "" => String::new(),
        details => format!("<pre class=\"failed\">{}</pre>", escape(details)),
    };
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\n<style>\
         body{{font:15px sans-serif;margin:2em}}table{{border-collapse:collapse}}td,th{{border:1px solid #bbb;\
         padding:.3em .6em;text-align:left;vertical-align:top}}pre{{margin:0;white-space:pre-wrap}}\
         .passed td:first-child{{background:#cfc}}.failed,.error,.stopped{{background:#fdd}}\
         .skipped,.skip-ok,.not-run{{background:#ffd}}</style>\n<h1>{title}</h1><p>{}</p>{error}\n\
         <table><tr><th>Outcome</th><th>Test</th><th>Time</th><th>Peak memory</th><th>Why</th></tr>\n{rows}</table>{told}</html>\n",
        escape(&sum(verdict)),
        title = escape(title),
    )
}

fn escape(text: &str) -> String {
    visible(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_in_characters_not_bytes() {
        let rows = [vec!["é".to_string(), "x".into()], vec!["ab".into(), "y".into()]];
        assert_eq!(columns(&rows), ["é   x", "ab  y"]);
    }

    #[test]
    fn hostile_text_does_not_become_markup() {
        assert_eq!(escape("<script>\"&\u{9b}\u{202e}"), "&lt;script&gt;&quot;&amp;\\x9b\\u202e");
    }
}
