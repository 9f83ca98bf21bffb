//! `make bench`: what the operator costs with many objects.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use test_support::bench::figures::Figures;
use test_support::bench::load::{Kind, Load};
use test_support::bench::measure::{Bench, Options};
use test_support::bench::plot::svg;
use test_support::bench::report::markdown;
use test_support::bench::stage::{Ending, Programs};
use test_support::{path, programs};

const PLOT: &str = "![Memory and CPU of the operator by the number of plans](benchmarks.svg)\n\n";

/// The interval between two polls of an object, in seconds.
const POLL_S: u64 = 60;

/// Measures the operator with many plans or groups of disks, on a real Kubernetes API and a simulated cloud.
#[derive(Parser)]
struct Arguments {
    /// The number of plans.
    #[arg(long, conflicts_with = "disk_groups", required_unless_present_any = ["disk_groups", "report"])]
    plans: Option<usize>,
    /// The number of groups of disks, in place of plans.
    #[arg(long)]
    disk_groups: Option<usize>,
    /// The number of namespaces that the objects are spread over.
    #[arg(long, default_value_t = 10)]
    namespaces: usize,
    /// The least length of the time at rest; 0s measures none.
    #[arg(long, default_value = "300s", value_parser = duration)]
    rest: Duration,
    /// The number of edits.
    #[arg(long, default_value_t = 100)]
    edits: usize,
    /// Leaves out the change of the leader.
    #[arg(long)]
    no_restart: bool,
    /// The operator; default: the one beside this program's folder.
    #[arg(long)]
    operator: Option<PathBuf>,
    /// The simulator; default: likewise.
    #[arg(long)]
    simulator: Option<PathBuf>,
    /// One more argument of the operator; repeatable.
    #[arg(long, allow_hyphen_values = true)]
    operator_arg: Vec<String>,
    /// The file of JSON that gets the figures after each phase.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Writes docs/benchmarks.md and docs/benchmarks.svg from such files instead.
    #[arg(long, num_args = 1.., conflicts_with_all = ["plans", "disk_groups"])]
    report: Vec<PathBuf>,
}

/// What stands around the tables of docs/benchmarks.md.
const MARKS: [&str; 2] = ["<!-- Written by make bench. -->\n", "<!-- The end of what make bench writes. -->\n"];

fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text);
    seconds.parse().map(Duration::from_secs).map_err(|_| "write it like 120s".to_owned())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if !arguments.report.is_empty() {
        return report(&arguments.report);
    }
    let (kind, objects) = match (arguments.plans, arguments.disk_groups) {
        (Some(plans), _) => (Kind::Plans, plans),
        (None, groups) => (Kind::DiskGroups, groups.unwrap_or_default()),
    };
    let options = Options {
        load: Load { kind, objects, namespaces: arguments.namespaces, poll_s: POLL_S },
        programs: Programs {
            operator: arguments.operator.unwrap_or_else(programs::operator),
            simulator: arguments.simulator.unwrap_or_else(programs::simulator),
            operator_args: [vec![format!("--poll-interval={POLL_S}s")], arguments.operator_arg].concat(),
        },
        quiet: Duration::from_secs(20),
        rest: Some(arguments.rest).filter(|rest| !rest.is_zero()),
        lists: 2,
        edits: arguments.edits.min(objects),
        ending: (!arguments.no_restart).then_some(Ending::Kill),
        edits_after_restart: 20.min(objects),
    };
    let mut bench = Bench::start(options).await?;
    let figures = bench
        .measure(|figures| {
            let text = serde_json::to_string_pretty(figures)?;
            match &arguments.out {
                Some(file) => std::fs::write(file, text).with_context(|| format!("writing {}", file.display())),
                None => Ok(()),
            }
        })
        .await?;
    println!("{}", markdown(&[figures]));
    Ok(())
}

/// Prints the tables of these files, and writes them and the plot into docs/.
fn report(files: &[PathBuf]) -> anyhow::Result<()> {
    let read = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("reading {}", file.display()))
    };
    let all = files.iter().map(read).collect::<anyhow::Result<Vec<Figures>>>()?;
    let mut tables = markdown(&all);
    println!("{tables}");
    if let Some(svg) = svg(&all) {
        std::fs::write(path("docs/benchmarks.svg"), svg).context("writing docs/benchmarks.svg")?;
        tables.insert_str(0, PLOT);
    }
    let page = path("docs/benchmarks.md");
    let text = std::fs::read_to_string(&page).with_context(|| format!("reading {}", page.display()))?;
    let [begin, end] = MARKS;
    let marked = text.split_once(begin).and_then(|(head, rest)| Some((head, rest.split_once(end)?.1)));
    let (head, tail) = marked.context("docs/benchmarks.md has no marks")?;
    std::fs::write(&page, format!("{head}{begin}{tables}{end}{tail}")).context("writing docs/benchmarks.md")
}
