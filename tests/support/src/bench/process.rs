//! Memory and CPU time of a process, as the kernel counts them.

use anyhow::Context;

/// The unit of `/proc/PID/stat`: `getconf CLK_TCK` is 100 on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory of a process now and at most so far, in KiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// `VmRSS`.
    pub resident_kib: u64,
    /// `VmHWM`.
    pub peak_kib: u64,
}

/// The memory of a process.
pub fn memory(pid: u32) -> anyhow::Result<Memory> {
    let status = read(pid, "status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        line.trim().trim_end_matches(" kB").parse().with_context(|| format!("{name} is no number: {line}"))
    };
    Ok(Memory { resident_kib: field("VmRSS:")?, peak_kib: field("VmHWM:")? })
}

/// The CPU time of a process since its start, in seconds, of all its threads.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = read(pid, "stat")?;
    // After the name in parentheses, which may have any characters.
    let fields = stat.rsplit_once(')').context("no name in stat")?.1.split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>().context("reading stat")?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}

fn read(pid: u32, file: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{pid}/{file}");
    std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))
}
