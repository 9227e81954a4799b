//! `mock-backend`: serves a list of tasks as a backend would, and shows the results it is given.

use super::signals::Signals;
use super::{Failure, WRONG, out, table};
use crate::backend::contract::key_of;
use crate::backend::mock::{self, ChaosOptions, Failure as Staged, MockBackend, MockOptions, OsNsuOptions, User};
use crate::config::Span;
use anyhow::Context;
use clap::Args;
use serde_json::Value;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

const AFTER_HELP: &str = "\
It hands out its tasks one after the other, then says UNAVAILABLE; GET /results shows everything received, GET /counts what
was counted, which is also its last line, on standard error.

    ostest-sandbox mock-backend --tasks examples/tasks.json &
    sudo ostest-sandbox --backend-url http://127.0.0.1:5000 --tests examples/course --once

With --like os-nsu it behaves as the backend in use at the course (os-nsu/ostest-back): only users with the role ADMIN take \
tasks and send results, others are answered 403; errorDetails of more than 255 characters, a NUL in a text and a missing \
duration are answered 500 each time and not stored; an unknown id 400; each user has one refresh token; attempts that are in \
progress and were made more than ten minutes ago become TIMEOUT at the next look, once a minute, and a later result replaces \
that. GET /attempts shows each attempt that was handed out, its state and history; those that were given up and never \
answered are `lost`. POST /clock with {\"advance\": \"10m\"} puts its clock ahead.

    ostest-sandbox mock-backend --like os-nsu &
    sudo ostest-sandbox --backend-url http://127.0.0.1:5000 --auth --login runner --password runner --error-limit 255 --once
    curl -d '{\"advance\": \"10m\"}' http://127.0.0.1:5000/clock";

/// Flags of `mock-backend`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct MockArgs {
    /// Where to listen; port 0 takes a free one and says which
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:5000", value_parser = place)]
    listen: String,
    /// JSON file with a list of tasks; without it two built-in ones
    #[arg(long, value_name = "FILE")]
    tasks: Option<PathBuf>,
    /// Demand a login with this name and password
    #[arg(long, value_name = "NAME:PASSWORD", value_parser = login, conflicts_with = "like")]
    auth: Option<(String, String)>,
    /// Behave as this backend does
    #[arg(long, value_name = "WHOM", value_enum)]
    like: Option<Whom>,
    /// A user of --like (repeatable), instead of runner:runner:ADMIN, dora_explorer:dora_explorer:STUDENT and teacher:teacher:TEACHER
    #[arg(long, value_name = "NAME:PASSWORD:ROLE,…", requires = "like")]
    user: Vec<User>,
    /// Give each attempt of --like to two who ask, as happens there to two that ask at the same instant
    #[arg(long, requires = "like")]
    race: bool,
    /// Make each attempt of --like so much later than the one before; without it all are there, and grow old, from the start
    #[arg(long, value_name = "TIME", requires = "like")]
    arrive_every: Option<Span>,
    /// End when every task has a result
    #[arg(long)]
    once: bool,
    /// Print each result whole, as JSON, one a line; the counts on standard error are JSON, too
    #[arg(long)]
    json: bool,
    /// Hand out the list N times: an integer that names a task is counted on, to a string -N is appended, of a UUID another is made
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// Keep no results, only a digest of each, for many tasks: GET /results has nothing then
    #[arg(long)]
    forget: bool,
    /// Let so many of a hundred answers fail, in all ways alike
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    fail: u8,
    /// Fail in these ways only: 500, 503, 401, 429, garbage, endless, drip, torn, redirect, silence, drop, take-and-drop, again
    #[arg(long, value_name = "WAY", value_delimiter = ',', requires = "fail")]
    fail_by: Vec<Staged>,
    /// Where the choice of failures begins: the same number and the same questions give the same failures
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Backends that it can be like.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Whom {
    /// os-nsu/ostest-back
    OsNsu,
}

impl MockArgs {
    fn like(&self) -> Option<OsNsuOptions> {
        let Whom::OsNsu = self.like?;
        let users = if self.user.is_empty() { mock::default_users() } else { self.user.clone() };
        let arrive_every = self.arrive_every.map(|span| span.0).unwrap_or_default();
        Some(OsNsuOptions { users, race: self.race, arrive_every })
    }

    /// Unit of `memoryUsed`, as whoever reads the results takes it.
    fn unit(&self) -> &'static str {
        if self.like.is_some() { "MiB" } else { "KiB" }
    }
}

/// Serves until interrupted; the number is the exit code.
pub fn main(args: &MockArgs, signals: Signals) -> Result<u8, Failure> {
    let tasks = tasks(args).map_err(Failure::with(WRONG))?;
    go(args, tasks, signals).map_err(Failure::with(1))
}

/// The tasks that it is to serve.
fn tasks(args: &MockArgs) -> anyhow::Result<Vec<Value>> {
    let Some(path) = &args.tasks else { return Ok(mock::builtin_tasks()) };
    let text = std::fs::read_to_string(path);
    let text =
        text.with_context(|| format!("--tasks {}: the tasks cannot be read; name a file in JSON", path.display()))?;
    let tasks = mock::parse_task_file(&text);
    let tasks = tasks.map_err(|e| anyhow::anyhow!("--tasks {}: the tasks are not valid: {e}", path.display()))?;
    mock::check_repeat(&tasks, args.repeat).map_err(|e| anyhow::anyhow!("--repeat {}: {e}", args.repeat))?;
    Ok(tasks)
}

/// `NAME:PASSWORD`.
fn login(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once(':').ok_or("write NAME:PASSWORD")?;
    Ok((pair.0.into(), pair.1.into()))
}

/// `ADDR:PORT`; the address may be a name.
fn place(text: &str) -> Result<String, String> {
    let port =
        text.rsplit_once(':').and_then(|(host, port)| Some(port.parse::<u16>().ok()).filter(|_| !host.is_empty()));
    match port.flatten() {
        Some(_) => Ok(text.into()),
        None => Err("write ADDR:PORT, such as 127.0.0.1:5000".into()),
    }
}

fn go(args: &MockArgs, tasks: Vec<Value>, mut signals: Signals) -> anyhow::Result<u8> {
    let auth = args.auth.clone();
    let wanted = (tasks.len() as u64).saturating_mul(args.repeat);
    let json = args.json;
    let mut chaos = ChaosOptions { percent: args.fail, seed: args.seed, ..ChaosOptions::default() };
    if !args.fail_by.is_empty() {
        chaos.failures.clone_from(&args.fail_by);
    }
    let options = MockOptions {
        tasks,
        repeat: args.repeat,
        auth,
        once: args.once,
        keep: !args.forget,
        chaos,
        like: args.like(),
        ..MockOptions::default()
    };
    let unit = args.unit();
    let unread = CancellationToken::new();
    let gone = unread.clone();
    let backend = MockBackend::new(options, move |task: Option<&Value>, result: &Value| {
        let printed = if json { out::json(result) } else { out::line(line(task, result, unit)) };
        if printed.is_err() || out::is_unread() {
            gone.cancel();
        }
    });
    super::runtime()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(&args.listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {}", args.listen))?;
        out::line(format_args!("mock backend on http://{} with {wanted} tasks", listener.local_addr()?))?;
        if out::is_unread() {
            unread.cancel();
        }
        tokio::select! {
            served = backend.serve(listener) => served.context("the mock backend broke"),
            () = signals.next() => Ok(()),
            // Who reads the results has seen enough.
            () = unread.cancelled() => Ok(()),
        }
    })?;
    let counts = backend.counts();
    out::say(if json { counts.to_json().to_string() } else { counts.to_string() });
    Ok(0)
}

/// What of a task a person recognises: the last part of its repository's URL.
fn repository(task: &Value) -> String {
    let url = task.get("repositoryUrl").and_then(Value::as_str).unwrap_or("?");
    url.trim_end_matches('/').rsplit('/').next().unwrap_or(url).trim_end_matches(".git").to_string()
}

/// A result on one line, in either dialect.
fn line(task: Option<&Value>, result: &Value, unit: &str) -> String {
    let body = result.get("testResults").filter(|r| r.is_object()).unwrap_or(result);
    let flag = |name: &str| body.get(name).and_then(Value::as_bool).unwrap_or(false);
    let word = match (flag("isPassed"), flag("isError")) {
        (true, _) => "passed",
        (_, true) => "ERROR",
        _ => "FAILED",
    };
    let cases = body.get("testCases").or_else(|| body.get("testResults")).and_then(Value::as_array);
    let cases = cases.map_or(&[][..], Vec::as_slice);
    let passed = cases.iter().filter(|c| c.get("isPassed").and_then(Value::as_bool) == Some(true)).count();
    let memory = cases.iter().filter_map(|c| c.get("memoryUsed").and_then(Value::as_u64)).max().unwrap_or(0);
    let details = body.get("errorDetails").and_then(Value::as_str).unwrap_or("").lines().next().unwrap_or("");
    // A result that comes again answers no task any more; its own name is what there is then.
    let name = match task {
        Some(task) => repository(task),
        None => key_of(result).map_or_else(|| "?".to_string(), |key| key.to_string()),
    };
    let row = [
        format!("{word:<7}"),
        format!("{name:<18}"),
        format!("{passed:>3}/{:<3}", cases.len()),
        format!("{memory:>8} {unit}"),
        details.to_string(),
    ];
    table::columns(&[row.to_vec()]).concat()
}
