//! `bench`: how fast projection is on this machine.

use super::{BenchArgs, Done, print};
use crate::bench::{self, BenchOptions};

pub(super) fn bench(args: &BenchArgs) -> anyhow::Result<Done> {
    let threads = args.threads.unwrap_or_else(crate::config::default_threads);
    let options = BenchOptions { sizes: args.sizes.clone(), rounds: args.rounds, threads };
    let report =
        bench::run(&options, &mut |width, height| eprintln!("measuring {width}x{height} ..."))?;
    if args.json {
        print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
    } else if args.markdown {
        print(&report.markdown())?;
    } else {
        print(&report.table())?;
    }
    Ok(Done::Whole)
}
