//! `depthcast bench`.

use clap::Args;
use clap::builder::TypedValueParser as _;

use super::{Done, print, print_json};
use crate::bench::{self, BenchOptions};
use crate::source::options::Mode;

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// Image sizes, separated by commas
    #[arg(long, value_name = "WxH,...", value_delimiter = ',', value_parser = parse_size,
        default_value = "320x240,640x480,848x480,1280x720,1280x960")]
    sizes: Vec<(u32, u32)>,
    /// Rounds, in each of which every row has its turn
    #[arg(long, value_name = "N", default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..=100_000).map(|n| n as usize))]
    rounds: usize,
    /// Threads of the rows that use several; without it, as many as a run would use
    #[arg(long, value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=256).map(usize::from))]
    threads: Option<usize>,
    /// As JSON (depthcast.bench.v1)
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// As a Markdown table of medians
    #[arg(long)]
    markdown: bool,
}

fn parse_size(text: &str) -> Result<(u32, u32), String> {
    /// Smaller images would be measured by what the clock can tell apart.
    const LEAST: u32 = 16;
    match format!("{text}@1").parse() {
        Ok(Mode { width, height, .. }) if width.min(height) >= LEAST => Ok((width, height)),
        _ => Err(format!(
            "a size looks like 640x480, and goes from {LEAST}x{LEAST} to 4096x4096; several like \
             640x480,848x480"
        )),
    }
}

pub(super) fn bench(args: &BenchArgs) -> anyhow::Result<Done> {
    let threads = args.threads.unwrap_or_else(crate::config::default_threads);
    let options = BenchOptions { sizes: args.sizes.clone(), rounds: args.rounds, threads };
    let report =
        bench::run(&options, &mut |width, height| eprintln!("measuring {width}x{height} ..."))?;
    match (args.json, args.markdown) {
        (true, _) => print_json(&report)?,
        (_, true) => print(&report.markdown())?,
        _ => print(&report.table())?,
    }
    Ok(Done::Whole)
}
