//! `record OUT -- demo|live|replay ...`: a run as without it, and a recording of what its source
//! delivers.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::run;
use super::source::SourceCommand;
use super::{Done, one_of};
use crate::clock::Clock;
use crate::config::UsageError;
use crate::record::{Compression, RecordOptions, Recorder};
use crate::source::SourceInfo;
use crate::words::{parse_bytes, parse_duration};

#[derive(Debug, Args)]
pub(super) struct RecordArgs {
    /// The file to write: .mcap, with ROS 2 messages. Or .bag, by librealsense's own recorder: only
    /// with `live` and a camera, and without the options below
    out: PathBuf,
    /// How the chunks of the file are compressed
    #[arg(long, default_value = "zstd", value_parser = one_of::<Compression>(&["zstd", "lz4", "none"]))]
    compression: Compression,
    /// End recording and run before the recording becomes longer than this
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    max_duration: Option<Duration>,
    /// End recording and run before the file becomes larger than this, such as 500MB or 4GiB
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    max_size: Option<u64>,
    /// End recording and run when the disk has less room than this; that counts as a failure. 0
    /// goes on until the disk is full
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_bytes)]
    min_free: u64,
    /// Record colour images too: each one that is the nearest in time of a depth frame
    #[arg(long)]
    color: bool,
    /// Replace the file if it exists already
    #[arg(long)]
    force: bool,
    /// Print the run's report as JSON (depthcast.report.v1, with `recording`)
    #[arg(long)]
    json: bool,
    /// What is recorded: demo, live or replay, with its arguments
    #[arg(last = true, required = true, value_name = "demo|live|replay ...")]
    run: Vec<OsString>,
}

/// What the run is to record.
#[derive(Debug)]
pub(super) struct Recording {
    pub path: PathBuf,
    pub options: RecordOptions,
    /// librealsense's recorder writes the file.
    pub by_librealsense: bool,
}

impl Recording {
    /// Opens the file; there is nothing to open where librealsense does.
    pub(super) fn create(
        self,
        source: &SourceInfo,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Option<Recorder>> {
        if self.by_librealsense {
            return Ok(None);
        }
        Recorder::create(&self.path, source, self.options, Arc::clone(clock)).map(Some)
    }
}

pub(super) fn record(args: RecordArgs) -> anyhow::Result<Done> {
    let (mut source, _) =
        SourceCommand::parse(&format!("depthcast record {} --", args.out.display()), &args.run);
    source.refuse_several("record")?;
    source.run_args_mut().output.json |= args.json;
    let recording = recording(args, &source)?;
    run::run(source, Some(recording))
}

/// Checks that the file can be what its name says.
fn recording(args: RecordArgs, source: &SourceCommand) -> anyhow::Result<Recording> {
    let RecordArgs { out, compression, max_duration, max_size, min_free, color, force, .. } = args;
    let name = out.display();
    let extension =
        out.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    let by_librealsense = match extension.as_deref() {
        Some("mcap") => false,
        Some("bag") => {
            if !matches!(source, SourceCommand::Live(live) if live.from_file.is_empty()) {
                let text = "a .bag is written by librealsense, from a camera: `record OUT.bag -- \
                    live`; give a name that ends with .mcap";
                return Err(UsageError(format!("{name}: {text}")).into());
            }
            let usual = RecordOptions::default();
            if max_duration.is_some()
                || max_size.is_some()
                || compression != usual.compression
                || min_free != usual.min_free_bytes
            {
                let text = "librealsense's recorder of .bag files has no limits and no choice of \
                    compression; --duration ends the run";
                return Err(UsageError(format!("{name}: {text}")).into());
            }
            true
        }
        Some("db3") => {
            let text = "librealsense 2.56 does not write .db3; give a name that ends with .mcap, \
                or with .bag for a camera";
            return Err(UsageError(format!("{name}: {text}")).into());
        }
        _ => {
            return Err(UsageError(format!(
                "{name}: depthcast writes .mcap; give a name that ends so"
            ))
            .into());
        }
    };
    // Before a camera is opened for nothing.
    if out.exists() && !force {
        anyhow::bail!("{name}: exists already; --force replaces it, another name keeps it");
    }
    let options = RecordOptions {
        compression,
        color,
        max_duration,
        max_bytes: max_size,
        min_free_bytes: min_free,
        overwrite: force,
    };
    Ok(Recording { path: out, options, by_librealsense })
}
